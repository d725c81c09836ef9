use crate::keys::KeySpan;
use crate::oauth::{NumericDate, Seconds};

/// Columns of the time.
const WIDTH: i64 = 64;

/// The lives of keys as lines over one time, from now to the last turn of the plan: published, signing, held.
pub(super) fn draw(spans: &[KeySpan], now: NumericDate) -> String {
    let ends = spans.iter().filter_map(|span| span.removed_at.or(span.starts));
    let end = ends.max().unwrap_or(now).max(now + Seconds::new(1));
    let scale = Scale { now, end };
    let mut lines = vec![format!("{:LABEL$}{}", "", scale.ruler())];
    let is_mixed = spans
        .iter()
        .any(|span| spans.first().map(|first| first.algorithm) != Some(span.algorithm));
    let mut under = None;
    for span in spans {
        if is_mixed && under != Some(span.algorithm) {
            lines.push(span.algorithm.to_string());
            under = Some(span.algorithm);
        }
        let name = span.kid.as_ref().map_or("(to be made)", |kid| kid.as_str());
        let short: String = name.chars().take(LABEL - 2).collect();
        lines.push(format!("{short:LABEL$}{}", scale.line(span)));
    }
    lines.push(format!(
        "{:LABEL$}{PUBLISHED} published   {SIGNS} signs   {HELD} held until its last token has expired",
        ""
    ));
    lines.join("\n")
}

const LABEL: usize = 14;
const PUBLISHED: char = '░';
const SIGNS: char = '█';
const HELD: char = '▒';

struct Scale {
    now: NumericDate,
    end: NumericDate,
}

impl Scale {
    /// The instant at which a column begins.
    fn at(&self, column: i64) -> NumericDate {
        self.now + Seconds::new(self.end.since(self.now).get().saturating_mul(column) / WIDTH)
    }

    fn line(&self, span: &KeySpan) -> String {
        let sign = |column| {
            let (begins, ends) = (self.at(column), self.at(column + 1));
            // What happens within a column shows in it, so that a short hold is seen.
            let is_over = |date: Option<NumericDate>| date.is_some_and(|date| date <= begins);
            if span.published_at >= ends || is_over(span.removed_at) {
                ' '
            } else if is_over(span.stops) || (span.starts.is_none() && span.stops.is_some()) {
                HELD
            } else if span.starts.is_some_and(|starts| starts < ends) {
                SIGNS
            } else {
                PUBLISHED
            }
        };
        let line: String = (0..WIDTH).map(sign).collect();
        line.trim_end().to_owned()
    }

    /// Where the time is, at every quarter.
    fn ruler(&self) -> String {
        let whole = self.end.since(self.now);
        let mark = |quarter: i64| {
            let text = match quarter {
                0 => "now".to_owned(),
                _ => format!("+{}", rounded(Seconds::new(whole.get() / 4 * quarter))),
            };
            format!("{text:<width$}", width = usize::try_from(WIDTH / 4).unwrap_or_default())
        };
        (0..4).map(mark).collect::<String>().trim_end().to_owned()
    }
}

/// A span in its largest whole unit, for people.
fn rounded(span: Seconds) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let found = units.into_iter().find(|(unit, _)| span.get() >= 2 * unit);
    found.map_or_else(
        || format!("{}s", span.get()),
        |(unit, letter)| format!("{}{letter}", span.get() / unit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::SigningAlgorithm;

    fn at(day: i64) -> NumericDate {
        NumericDate::from_epoch(day * 86_400)
    }

    #[test]
    fn the_keys_of_several_algorithms_stand_under_its_name() {
        let of = |algorithm| KeySpan {
            kid: None,
            algorithm,
            published_at: at(0),
            starts: Some(at(0)),
            stops: None,
            removed_at: None,
        };
        let drawn = |algorithms: &[SigningAlgorithm]| {
            let spans: Vec<_> = algorithms.iter().copied().map(of).collect();
            let drawn = draw(&spans, at(0));
            let starts: Vec<String> = drawn.lines().map(|line| line.chars().take(5).collect()).collect();
            starts
        };
        let (rs256, es256) = (SigningAlgorithm::Rs256, SigningAlgorithm::Es256);
        assert_eq!(
            drawn(&[rs256, rs256, es256])[1..6],
            ["RS256", "(to b", "(to b", "ES256", "(to b"]
        );
        assert_eq!(drawn(&[es256, es256])[1..3], ["(to b", "(to b"]);
    }

    #[test]
    fn the_lives_of_keys_are_drawn_over_one_time() {
        let span = |published, starts, stops: Option<i64>, removed: Option<i64>| KeySpan {
            kid: None,
            algorithm: SigningAlgorithm::Rs256,
            published_at: at(published),
            starts: Some(at(starts)),
            stops: stops.map(at),
            removed_at: removed.map(at),
        };
        let drawn = draw(
            &[
                span(0, 0, Some(16), Some(32)),
                span(0, 16, Some(48), Some(64)),
                span(16, 48, None, None),
            ],
            at(0),
        );
        let lines: Vec<&str> = drawn
            .lines()
            .map(|line| line.trim_start_matches("(to be made)").trim_start())
            .collect();
        assert_eq!(lines[0], "now             +16d            +32d            +48d");
        let of = |parts: &[(char, usize)]| {
            parts
                .iter()
                .map(|(sign, count)| sign.to_string().repeat(*count))
                .collect::<String>()
        };
        assert_eq!(lines[1], of(&[(SIGNS, 16), (HELD, 16)]));
        assert_eq!(lines[2], of(&[(PUBLISHED, 16), (SIGNS, 32), (HELD, 16)]));
        assert_eq!(lines[3], of(&[(PUBLISHED, 32), (SIGNS, 16)]));
        assert!(lines[4].contains("published"));
    }
}
