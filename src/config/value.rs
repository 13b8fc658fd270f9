//! Durations and sizes as operators write them: `"30s"`, `"64KiB"`; the unit is always in the text.
//!
//! Faults are one lower-case sentence that says what was found and what was expected. A number without a unit is
//! refused, because thirty of what is the question that wakes people.

use std::time::Duration;

/// Units of a duration, with their length in milliseconds, smallest first.
const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of a size, with their length in bytes, smallest first.
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// The longest duration that is understood, in milliseconds: a year, so that no deadline can overflow.
const LONGEST: u64 = 365 * 86_400_000;

/// Reads a duration: a whole number and one of `ms s m h d`. At most a year.
///
/// # Errors
/// What was found and what was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let ms = number_and_unit(text, &TIMES, "a duration", "`30s`, `5m`, `2h` or `1d`")?;
    if ms > LONGEST {
        return Err(format!("`{text}` is longer than a year"));
    }
    Ok(Duration::from_millis(ms))
}

/// Reads a size in bytes: a whole number and one of `B KiB MiB GiB`.
///
/// # Errors
/// What was found and what was expected.
pub fn size(text: &str) -> Result<u64, String> {
    number_and_unit(text, &SIZES, "a size", "`64KiB` or `1MiB`")
}

/// `d` as an operator would write it, in the largest unit that is exact.
pub fn duration_text(d: Duration) -> String {
    in_largest_unit(u64::try_from(d.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

/// `bytes` as an operator would write it, in the largest unit that is exact.
pub fn size_text(bytes: u64) -> String {
    in_largest_unit(bytes, &SIZES)
}

fn in_largest_unit(n: u64, units: &[(&str, u64)]) -> String {
    let exact = units.iter().rev().find(|(_, unit)| n >= *unit && n.is_multiple_of(*unit));
    exact.or(units.first()).map_or_else(String::new, |(name, unit)| format!("{}{name}", n / unit))
}

fn number_and_unit(text: &str, units: &[(&str, u64)], what: &str, such_as: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shown = super::walk::shown(text);
    if number.is_empty() {
        return Err(format!("`{shown}` is not {what}, expected a whole number and a unit such as {such_as}"));
    }
    let names = || units.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(" ");
    if unit.is_empty() {
        return Err(format!("`{shown}` has no unit, expected one of {}", names()));
    }
    if let Some((name, _)) =
        units.iter().find(|(name, _)| *name == unit.trim()).filter(|_| unit.trim() != unit)
    {
        return Err(format!("`{shown}` holds a space, expected `{number}{name}`"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let unit = super::walk::shown(unit);
        return Err(format!("`{shown}` has the unknown unit `{unit}`, expected one of {}", names()));
    };
    let value = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor));
    value.ok_or_else(|| format!("`{shown}` is too large"))
}

/// `"03:30"` in minutes since the day began; `"24:00"` is its end.
pub fn minute_of_day(text: &str) -> Result<u16, String> {
    let digits =
        |part: &str| (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok());
    let (hour, minute): (Option<u16>, Option<u16>) = match text.split_once(':') {
        Some((hour, minute)) => (digits(hour).flatten(), digits(minute).flatten()),
        None => (None, None),
    };
    match (hour, minute) {
        (Some(hour @ 0..24), Some(minute @ 0..60)) => Ok(hour * 60 + minute),
        (Some(24), Some(0)) => Ok(24 * 60),
        _ => Err(format!("`{}` is no time of day, expected one such as `03:30`", super::walk::shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_has_two_digits_twice() {
        let minutes = ["00:00", "03:30", "23:59", "24:00"].map(|t| minute_of_day(t).ok());
        assert_eq!(minutes, [Some(0), Some(210), Some(1439), Some(1440)]);
        for bad in ["", "3:30", "03.30", "24:01", "12:60", "+1:00", "aa:bb", "03:30:00"] {
            assert!(minute_of_day(bad).is_err(), "{bad}");
        }
        assert_eq!(
            minute_of_day("noon").unwrap_err(),
            "`noon` is no time of day, expected one such as `03:30`"
        );
    }
    use proptest::prelude::*;

    #[test]
    fn durations_and_sizes_carry_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(duration_text(Duration::from_secs(5400)), "90m");
    }

    #[test]
    fn faults_say_what_was_found_and_expected() {
        let fault = |t| duration(t).unwrap_err();
        assert_eq!(
            fault("soon"),
            "`soon` is not a duration, expected a whole number and a unit such as `30s`, `5m`, `2h` or `1d`"
        );
        assert_eq!(fault("30"), "`30` has no unit, expected one of `ms` `s` `m` `h` `d`");
        assert_eq!(fault("5min"), "`5min` has the unknown unit `min`, expected one of `ms` `s` `m` `h` `d`");
        assert_eq!(fault("99999999999999999999d"), "`99999999999999999999d` is too large");
        assert_eq!(fault("400d"), "`400d` is longer than a year");
        assert_eq!(
            size("64kb").unwrap_err(),
            "`64kb` has the unknown unit `kb`, expected one of `B` `KiB` `MiB` `GiB`"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ms in 1..LONGEST) {
            let d = Duration::from_millis(ms);
            prop_assert_eq!(duration(&duration_text(d)), Ok(d));
            prop_assert_eq!(size(&size_text(ms)), Ok(ms));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            _ = duration(&text).is_ok() || size(&text).is_ok();
        }
    }
}
