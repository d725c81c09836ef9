//! Entity tags in conditions (RFC 9110 §8.8.3, §13.1).

/// How two tags are compared (RFC 9110 §8.8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// For a change: a weak tag equals none.
    Strong,
    /// For what is kept: weak or not does not matter.
    Weak,
}

/// Whether the condition, `*` or a list of entity tags, names `etag`. What is neither names nothing: a comma, a space and an asterisk
/// within the quotes belong to the tag.
pub(super) fn names(condition: &str, etag: &str, comparison: Comparison) -> bool {
    let mut rest = condition.trim_matches(SPACE);
    if rest == "*" {
        return true;
    }
    let mut named = false;
    loop {
        // Empty elements of a list are ignored (§5.6.1.2).
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return named;
        }
        let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
        let length = quoted.strip_prefix('"').and_then(|tag| tag.find('"'));
        let Some((tag, after)) = length.and_then(|length| quoted.split_at_checked(length + 2)) else {
            return false;
        };
        if tag.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return false;
        }
        named |= tag == etag && !(weak && comparison == Comparison::Strong);
        rest = after.trim_start_matches(SPACE);
        if !rest.is_empty() && !rest.starts_with(',') {
            return false;
        }
    }
}

const SPACE: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::Comparison::{Strong, Weak};
    use super::*;

    // D-14, J-08
    #[test]
    fn a_condition_names_the_tags_in_its_list_and_an_asterisk_alone_all() {
        for condition in ["\"a\"", "*", " * ", "\"b\", \"a\"", "\"b\",,\t\"a\" ,", "\"a\",W/\"c\""] {
            assert!(
                names(condition, "\"a\"", Strong) && names(condition, "\"a\"", Weak),
                "{condition}"
            );
        }
        assert!(names("W/\"a\"", "\"a\"", Weak) && !names("W/\"a\"", "\"a\"", Strong));
        for condition in [
            "",
            ",",
            "\"b\"",
            "a",
            "\"a",
            "\"a\"x",
            "\"a\" \"b\"",
            "w/\"a\"",
            "W/W/\"a\"",
            "*, \"b\"",
            // One tag each, whatever it looks like.
            "\"b,*,c\"",
            "\"b, \"a\"",
            "\"b \"a\"",
        ] {
            assert!(
                !names(condition, "\"a\"", Strong) && !names(condition, "\"a\"", Weak),
                "{condition}"
            );
        }
    }
}
