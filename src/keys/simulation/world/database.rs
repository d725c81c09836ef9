//! What the methods of the store do to the rows, and what a loosened promise makes of it.

use super::*;

impl World {
    /// As `Store::create_signing_key`.
    pub(super) fn create(&mut self, mut slot: Slot, policy: &RotationPolicy) {
        let newest = self.newest();
        if newest.ring.keys().any(|row| row.record.slot == slot.slot) {
            return;
        }
        let certified_until = policy.certificate_not_after(&slot);
        let waits = slot.activates_at > slot.published_at;
        match self.loosened {
            Some(Loosened::Lead) if waits => {
                slot.published_at = slot.published_at - Seconds::new(1);
                slot.activates_at = slot.activates_at - Seconds::new(1);
            }
            Some(Loosened::UnpublishedNext) if waits => {
                slot.published_at = slot.published_at - policy.lead();
                slot.activates_at = slot.published_at + policy.lead();
            }
            _ => {}
        }
        let life = policy.settings().longest_access_ttl.max(newest.client_life);
        let row = Row {
            record: KeyRecord {
                kid: Thumbprint::parse(&format!("{:0>42}0", slot.slot)).unwrap(),
                alg: policy.settings().algorithm,
                slot: slot.slot,
                published_at: slot.published_at,
                activates_at: slot.activates_at,
                certificate: Vec::new(),
                longest_token_life: life,
                tainted_at: None,
                revoked_at: None,
            },
            private: true,
            certified_until,
        };
        let rows = self.rows().into_iter().chain([row]).collect();
        self.commit(rows, self.newest().client_life);
    }

    /// As `Store::set_activation`.
    pub(super) fn activate(&mut self, kid: &Thumbprint, from: NumericDate, to: NumericDate) {
        self.write(|row| {
            if row.record.kid == *kid && row.record.activates_at == from {
                row.record.activates_at = to;
            }
        });
    }

    /// As `Store::raise_token_life`, together with a change of a client if there is one.
    pub(super) fn raise(&mut self, life: Seconds, client_life: Option<Seconds>) {
        let raises = self.loosened != Some(Loosened::NotRaised);
        let mut rows = self.rows();
        for row in rows.iter_mut().filter(|row| raises && row.private) {
            row.record.longest_token_life = row.record.longest_token_life.max(life);
        }
        self.commit(rows, client_life.unwrap_or(self.newest().client_life));
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.newest().ring.keys().map(|row| (**row).clone()).collect()
    }

    /// A transaction over all rows.
    pub(super) fn write(&mut self, change: impl Fn(&mut Row)) {
        let mut rows = self.rows();
        rows.iter_mut().for_each(change);
        self.commit(rows, self.newest().client_life);
    }

    pub(super) fn commit(&mut self, mut rows: Vec<Row>, client_life: Seconds) {
        let before = &self.newest().ring;
        let newest = rows.iter().map(|row| row.record.slot).max();
        // Rows are kept for ever, but of those that left the set long ago nothing follows any more.
        rows.retain(|row| {
            let removed = before.removed_at(&row.record.kid);
            row.private
                || Some(row.record.slot) == newest
                || removed.is_none_or(|removed| removed.epoch() + 1_000 > self.now)
        });
        let ring = KeyRing::new(rows.into_iter().map(Arc::new));
        for node in &self.nodes {
            self.agenda.extend([self.now + node.lag, self.now + node.lag + 1]);
            for row in ring.keys() {
                let kid = &row.record.kid;
                for change in [ring.starts_at(kid), ring.removed_at(kid)].into_iter().flatten() {
                    let change = change.epoch() - node.clock;
                    self.agenda
                        .extend([change - 1, change].iter().filter(|change| **change > self.now));
                }
            }
        }
        self.versions.push(Version {
            committed: self.now,
            ring,
            client_life,
        });
    }
}
