use std::sync::OnceLock;

use actix_web::http::header::HeaderValue;

use crate::oauth::Seconds;

/// `Cache-Control` of what anybody may keep for a while (RFC 9111 §5.2.2). A value that was written once is shared from then on: each
/// key set has another age, of the same few hundred.
#[derive(Debug)]
pub(super) struct CacheControls(Box<[OnceLock<HeaderValue>]>);

/// Longer ages are written each time.
const LONGEST_KEPT: Seconds = Seconds::minutes(10);

impl CacheControls {
    /// Nothing written yet.
    pub(super) fn new() -> Self {
        CacheControls((0..=LONGEST_KEPT.get()).map(|_| OnceLock::new()).collect())
    }

    /// That it may be kept for `max_age`.
    pub(super) fn public(&self, max_age: Seconds) -> HeaderValue {
        let kept = usize::try_from(max_age.get())
            .ok()
            .and_then(|seconds| self.0.get(seconds));
        match kept {
            Some(kept) => kept.get_or_init(|| written(max_age)).clone(),
            None => written(max_age),
        }
    }
}

fn written(max_age: Seconds) -> HeaderValue {
    HeaderValue::from_maybe_shared(format!("public, max-age={}", max_age.get()))
        .unwrap_or(HeaderValue::from_static("no-store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_age_is_told_as_it_is() {
        let values = CacheControls::new();
        for seconds in [0, 1, 299, 600, 601, 86_400, 299] {
            let expected = format!("public, max-age={seconds}");
            assert_eq!(values.public(Seconds::new(seconds)), expected);
        }
    }
}
