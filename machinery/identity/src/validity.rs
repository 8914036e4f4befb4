//! How long a certificate is good for, and when to ask for the next. Pure: time comes in as an argument.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::time::ASN1Time;

/// How long a role's certificate is good for.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate counts from this long before it was signed: the clocks of two machines may differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// A machine that was off comes back by itself for this long after its certificate ended; later it joins anew.
pub const LATE_RENEWAL_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The dates of a certificate, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// What to do about a certificate now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing until then.
    At(SystemTime),
    /// Ask for the next one; this one is good meanwhile.
    Due,
    /// Ask for the next one; nobody accepts this one (the clock is past its end, or before its beginning).
    Overdue,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate")]
pub struct NotACertificate;

impl Validity {
    /// From now on, for `lifetime`.
    pub fn lasting(now: SystemTime, lifetime: Duration) -> Self {
        Self {
            not_before: now.checked_sub(CLOCK_SKEW).unwrap_or(UNIX_EPOCH),
            not_after: now.checked_add(lifetime).unwrap_or(now),
        }
    }

    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, NotACertificate> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| NotACertificate)?;
        let dates = parsed.validity();
        let (not_before, not_after) = (system_time(dates.not_before), system_time(dates.not_after));
        Ok(Self { not_before: not_before.ok_or(NotACertificate)?, not_after: not_after.ok_or(NotACertificate)? })
    }

    /// Of the first certificate in a PEM file's text.
    pub fn of_pem(text: &str) -> Result<Self, NotACertificate> {
        Self::of(&CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| NotACertificate)?)
    }

    /// Half of the lifetime: as long as the past half is left to find somebody who signs the next.
    pub fn renew_at(&self) -> SystemTime {
        let lifetime = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_before.checked_add(lifetime / 2).unwrap_or(self.not_before)
    }

    /// Whether it has ended, but not so long ago that its owner may not have it renewed.
    pub fn is_late(&self, now: SystemTime) -> bool {
        now.duration_since(self.not_after).is_ok_and(|late| !late.is_zero() && late <= LATE_RENEWAL_MAX)
    }

    pub fn renewal(&self, now: SystemTime) -> Renewal {
        if now < self.not_before || now > self.not_after {
            Renewal::Overdue
        } else if now >= self.renew_at() {
            Renewal::Due
        } else {
            Renewal::At(self.renew_at())
        }
    }
}

fn system_time(time: ASN1Time) -> Option<SystemTime> {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_certificate_is_renewed_at_half_of_its_life() {
        let validity = Validity { not_before: at(1000), not_after: at(2000) };
        assert_eq!(validity.renewal(at(1000)), Renewal::At(at(1500)));
        assert_eq!(validity.renewal(at(1499)), Renewal::At(at(1500)));
        assert_eq!(validity.renewal(at(1500)), Renewal::Due);
        assert_eq!(validity.renewal(at(2000)), Renewal::Due);
        assert_eq!(validity.renewal(at(2001)), Renewal::Overdue);
        assert_eq!(validity.renewal(at(999)), Renewal::Overdue, "the clock was set back");
    }

    #[test]
    fn dates_in_the_wrong_order_are_overdue() {
        let validity = Validity { not_before: at(2000), not_after: at(1000) };
        for now in [at(0), at(1500), at(3000)] {
            assert_eq!(validity.renewal(now), Renewal::Overdue);
        }
    }

    #[test]
    fn a_certificate_that_ended_is_late_for_thirty_days() {
        let validity = Validity { not_before: at(1000), not_after: at(2000) };
        let last = at(2000) + LATE_RENEWAL_MAX;
        assert!(!validity.is_late(at(2000)) && validity.is_late(at(2001)));
        assert!(validity.is_late(last) && !validity.is_late(last + Duration::from_secs(1)));
        assert!(!validity.is_late(at(0)));
    }

    proptest! {
        #[test]
        fn waiting_always_ends_in_the_life_of_the_certificate(begin in 0u64..1 << 40, lifetime in 2u64..1 << 40, now in 0u64..1 << 41) {
            let validity = Validity { not_before: at(begin), not_after: at(begin + lifetime) };
            if let Renewal::At(when) = validity.renewal(at(now)) {
                prop_assert!(at(now) < when && when < validity.not_after);
                prop_assert_eq!(validity.renewal(when), Renewal::Due);
            }
        }

        #[test]
        fn no_bytes_shown_as_a_certificate_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Validity::of(&CertificateDer::from(bytes)), Err(NotACertificate));
        }
    }
}
