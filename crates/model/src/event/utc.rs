//! Times as programs write them.

use crate::time::Timestamp;

const DAY: i64 = 86_400;

/// `2018-02-07T22:30:11Z`, for the years 0 to 9999.
pub fn iso(time: Timestamp) -> String {
    let seconds = time.as_millis().div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

/// Year, month and day of a day counted from 1970-01-01. Years begin in March here, so that the leap day is their last
/// day, and 400 of them have always the same length.
fn date(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let from_march_of_year_0 = days + 719_468;
    let (era, day_of_era) = (from_march_of_year_0.div_euclid(ERA), from_march_of_year_0.rem_euclid(ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (ERA - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let (month, carry) = if from_march < 10 { (from_march + 3, 0) } else { (from_march - 9, 1) };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_others_write_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_518_042_611, "2018-02-07T22:30:11Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(iso(Timestamp(seconds * 1_000 + 999)), text);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = date(-1);
        for days in 0..150_000 {
            let (year, month, day) = date(days);
            let next_day = (year, month) == (last.0, last.1) && day == last.2 + 1;
            let next_month = day == 1 && (year * 12 + month) == (last.0 * 12 + last.1 + 1) && last.2 >= 28;
            assert!(next_day || next_month, "{last:?} before {year}-{month}-{day}");
            last = (year, month, day);
        }
    }
}
