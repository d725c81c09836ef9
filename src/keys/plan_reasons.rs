use super::{CLOCK_SKEW, HOLD_MARGIN, KNOWN_VERIFIERS, KnownVerifier, NODE_REFRESH, RotationPolicy};
use crate::oauth::{NumericDate, Seconds};

/// The client whose access tokens live longest, of those with a life of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongestLife {
    /// Its `client_id`.
    pub client_id: String,
    /// The life of its tokens.
    pub life: Seconds,
}

/// Says in words which rule puts an instant of a plan where it is, and whose number is behind it.
pub(super) struct Reasons<'a> {
    pub(super) policy: &'a RotationPolicy,
    pub(super) longest: Option<&'a LongestLife>,
}

impl Reasons<'_> {
    /// Why a key is published so long before it signs.
    pub(super) fn publication(&self, ahead: Seconds) -> String {
        match ahead.get() {
            0 => "no key can sign, so it does at once".to_owned(),
            _ => format!(
                "{ahead} before it signs; at least {} are needed: {}",
                self.policy.lead(),
                self.lead()
            ),
        }
    }

    /// Why a key begins to sign then. `planned` is when it would without any wait for fetchers.
    pub(super) fn activation(
        &self,
        published_at: NumericDate,
        starts: NumericDate,
        planned: Option<NumericDate>,
    ) -> String {
        let wait = self.policy.settings().wait_for_fetchers;
        let known = format!(
            "published since {published_at}, so every verifier knows it: {}",
            self.lead()
        );
        match planned {
            Some(planned) if wait > Seconds::new(0) && starts >= planned => {
                let latest = planned + wait;
                let put_off = if starts > planned {
                    format!("; put off since {planned}")
                } else {
                    String::new()
                };
                format!(
                    "{known}{put_off}; put off until {latest} at the latest for fetchers without it (signing.wait_for_fetchers)"
                )
            }
            _ => known,
        }
    }

    /// Why a key leaves the set then: `life` is that of the last token that it may sign.
    pub(super) fn removal(&self, life: Seconds) -> String {
        let whose = match self.longest {
            _ if life == self.policy.settings().longest_access_ttl => "tokens.access_ttl".to_owned(),
            Some(longest) if longest.life == life => format!("client \"{}\"", longest.client_id),
            _ => "a setting or a client of before".to_owned(),
        };
        format!(
            "the last token that it may sign lives {life} ({whose}), and {HOLD_MARGIN} more are for slow nodes, clocks and leeway"
        )
    }

    /// What the lead consists of.
    fn lead(&self) -> String {
        let settings = self.policy.settings();
        let rest = NODE_REFRESH + CLOCK_SKEW;
        if settings.jwks_max_age > settings.slowest_verifier {
            return format!(
                "verifiers are told to keep the set for {} (signing.jwks_max_age), and {rest} are for slow nodes and clocks",
                settings.jwks_max_age
            );
        }
        let within = |known: &&KnownVerifier| {
            known
                .learns_within()
                .is_some_and(|span| span <= settings.slowest_verifier)
        };
        let slowest = KNOWN_VERIFIERS
            .iter()
            .filter(within)
            .max_by_key(|known| known.learns_within());
        let known = slowest.and_then(|known| Some(format!("; {} needs {}", known.name, known.learns_within()?)));
        format!(
            "the slowest verifier keeps the set for {} (signing.slowest_verifier{}), and {rest} are for slow nodes and clocks",
            settings.slowest_verifier,
            known.unwrap_or_default()
        )
    }
}

/// Libraries that refuse a new key for longer than the policy allows for, unless they are told otherwise, with how long.
pub(super) fn too_slow(policy: &RotationPolicy) -> Vec<(&'static str, Seconds)> {
    let allowed = policy.settings().slowest_verifier.max(policy.settings().jwks_max_age);
    let needs = KNOWN_VERIFIERS
        .iter()
        .filter_map(|known| Some((known.name, known.learns_within()?)));
    needs.filter(|(_, span)| *span > allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::super::RotationSettings;
    use super::super::policy::default_settings;
    use super::*;

    fn policy(change: impl Fn(&mut RotationSettings)) -> RotationPolicy {
        let mut settings = default_settings();
        change(&mut settings);
        RotationPolicy::new(settings).unwrap()
    }

    #[test]
    fn a_reason_names_the_setting_the_client_or_the_verifier_behind_it() {
        let at = NumericDate::from_epoch;
        let client = LongestLife {
            client_id: "batch".to_owned(),
            life: Seconds::hours(2),
        };
        let of = |policy: &RotationPolicy, tell: &dyn Fn(&Reasons<'_>) -> String| {
            let longest = Some(&client);
            tell(&Reasons { policy, longest })
        };
        let usual = policy(|_| {});
        let quick = policy(|settings| settings.slowest_verifier = Seconds::new(0));
        let waiting = policy(|settings| settings.wait_for_fetchers = Seconds::days(3));
        for (told, parts) in [
            (
                of(&usual, &|reasons| reasons.removal(Seconds::hours(2))),
                &["2h", "client \"batch\""][..],
            ),
            (
                of(&usual, &|reasons| reasons.removal(Seconds::minutes(10))),
                &["10m", "tokens.access_ttl"],
            ),
            (
                of(&usual, &|reasons| reasons.removal(Seconds::hours(9))),
                &["9h", "of before"],
            ),
            (
                of(&usual, &|reasons| reasons.publication(Seconds::days(30))),
                &["30d before", "signing.slowest_verifier", "axum-jwt-auth needs 1h"],
            ),
            (
                of(&quick, &|reasons| reasons.publication(Seconds::days(30))),
                &["signing.jwks_max_age", "300s"],
            ),
            (
                of(&usual, &|reasons| reasons.publication(Seconds::new(0))),
                &["at once"],
            ),
            (
                of(&waiting, &|reasons| {
                    reasons.activation(at(0), at(86_400), Some(at(86_400)))
                }),
                &["1970-01-05", "signing.wait_for_fetchers"],
            ),
            (
                of(&waiting, &|reasons| {
                    reasons.activation(at(0), at(90_000), Some(at(86_400)))
                }),
                &["put off since 1970-01-02T00:00:00Z", "until 1970-01-05"],
            ),
        ] {
            for part in parts {
                let part = part.replace("300s", "5m");
                assert!(told.contains(&part), "{part}: {told}");
            }
        }
        let early = of(&waiting, &|reasons| reasons.activation(at(0), at(5), Some(at(86_400))));
        assert!(!early.contains("wait_for_fetchers"), "{early}");
    }

    #[test]
    fn libraries_that_are_slower_than_the_policy_allows_for_are_named() {
        let within = |slowest| too_slow(&policy(|settings| settings.slowest_verifier = Seconds::new(slowest)));
        assert_eq!(within(3_600), []);
        assert_eq!(within(3_599), [("axum-jwt-auth", Seconds::hours(1))]);
        assert!(within(60).iter().any(|(name, _)| *name == "Envoy"));
        assert!(!within(60).iter().any(|(name, _)| name.starts_with("jose")));
    }
}
