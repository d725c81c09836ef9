use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use zeroize::Zeroizing;

/// What a request carries by way of a bearer token (RFC 6750 §2.1). In a form or a query none is looked for. It cannot be
/// printed.
pub(super) enum Bearer {
    /// No credentials at all.
    Absent,
    /// One token.
    Token(Zeroizing<String>),
    /// Something else, such as another scheme, or characters that no token has.
    Malformed,
    /// More than one header: two identities.
    Several,
}

impl Bearer {
    /// The token of a request.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let mut values = request.headers().get_all(AUTHORIZATION);
        let Some(value) = values.next() else {
            return Bearer::Absent;
        };
        if values.next().is_some() {
            return Bearer::Several;
        }
        let Ok(value) = value.to_str() else {
            return Bearer::Malformed;
        };
        match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && is_token(token) => {
                Bearer::Token(Zeroizing::new(token.to_owned()))
            }
            _ => Bearer::Malformed,
        }
    }
}

/// `b64token` of RFC 6750 §2.1.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn of(values: &[&str]) -> Bearer {
        let mut request = TestRequest::default();
        for value in values {
            request = request.append_header((AUTHORIZATION, *value));
        }
        Bearer::of(&request.to_http_request())
    }

    // D-01, D-04, Y-02
    #[test]
    fn a_bearer_token_is_one_word_after_its_scheme() {
        assert!(matches!(of(&[]), Bearer::Absent));
        assert!(matches!(of(&["Bearer a.b-c_d~+/=="]), Bearer::Token(token) if *token == "a.b-c_d~+/=="));
        assert!(matches!(of(&["bEARER x"]), Bearer::Token(_)));
        for malformed in [
            "Bearer",
            "Bearer ",
            "",
            "Bearer  x",
            "Bearer x y",
            "Bearer x,y",
            "Bearer =",
            "Basic eDp5",
            "Bearerx",
            "Bearer\tx",
        ] {
            assert!(matches!(of(&[malformed]), Bearer::Malformed), "{malformed}");
        }
        assert!(matches!(of(&["Bearer x", "Bearer x"]), Bearer::Several));
    }
}
