//! The day, for files that say when something was measured.

use std::time::{SystemTime, UNIX_EPOCH};

/// Today in UTC, as 2026-11-29.
pub fn today() -> String {
    of(seconds() / 86_400)
}

/// Now in UTC, as 2026-11-29T07:05:09Z.
pub fn now() -> String {
    let seconds = seconds();
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{}T{hours:02}:{minutes:02}:{:02}Z", of(seconds / 86_400), seconds % 60)
}

fn seconds() -> u64 {
    // A clock before 1970 is wrong anyway.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The day of that number since 1970-01-01. Years begin in March here, so that the leap day is their last.
fn of(day: u64) -> String {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (of_month, calendar) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{calendar:02}-{of_month:02}", era * 400 + year + u64::from(calendar <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let days = [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (11_017, "2000-03-01")];
        for (day, text) in
            days.into_iter().chain([(20_786, "2026-11-29"), (47_540, "2100-02-28"), (47_541, "2100-03-01")])
        {
            assert_eq!(of(day), text);
        }
    }
}
