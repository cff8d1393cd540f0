//! Forecasts of histories that are known, of any history, and of simulated guests.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::TestRng;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 4096 * MIB;
const HOUR: i64 = Millis::HOUR.0;

/// A run at so many hours that read so much in the time that it takes at 100 MiB/s, beside 4 s.
fn run(hours: i64, looked: Looked, read: u64) -> PastRun {
    let actual = Actual { read, stored: read / 2, took: 4_000 + read / (100 * MIB / 1_000) };
    PastRun { whose: Whose::Job, point_at: Timestamp(hours * HOUR), looked, actual, forecast: None }
}

fn past(runs: Vec<PastRun>) -> Past {
    Past { size: SIZE, allocated: Some(1024 * MIB), runs, ..Past::default() }
}

/// A first copy, and a run of changes of `read` every `every` hours.
fn steady(n: i64, every: i64, read: u64) -> Past {
    let changes = (1..=n).map(|k| run(k * every, Looked::Changes, read));
    past(std::iter::once(run(0, Looked::FirstCopy, 1024 * MIB)).chain(changes).collect())
}

#[test]
fn before_any_run_bytes_are_told_and_no_hours() {
    let forecast = past(vec![]).run_at(Timestamp(0));
    assert_eq!(forecast.looked, Looked::FirstCopy);
    assert_eq!(forecast.read, Some(Range { low: 0, likely: 1024 * MIB, high: SIZE }));
    assert_eq!((forecast.stored.map(|range| range.likely), forecast.took), (Some(1024 * MIB), None));
    assert_eq!(forecast.basis, "bytes: allocated bytes; no run yet: no hours");
    let untold = Past { allocated: None, ..past(vec![]) }.run_at(Timestamp(0));
    assert_eq!(untold.read, Some(Range { low: 0, likely: SIZE, high: SIZE }));
}

#[test]
fn a_first_copy_at_work_narrows_its_own_forecast() {
    let underway = Some(Underway { read: 700 * MIB, ahead: 200 * MIB });
    let forecast = Past { underway, ..past(vec![]) }.run_at(Timestamp(0));
    assert_eq!(forecast.read, Some(Range { low: 700 * MIB, likely: 900 * MIB, high: 900 * MIB }));
}

#[test]
fn first_copies_of_others_tell_the_time_and_how_well_it_compresses() {
    let other = |read| PastRun { whose: Whose::Service, ..run(0, Looked::FirstCopy, read) };
    let forecast = past(vec![other(500 * MIB), other(2000 * MIB)]).run_at(Timestamp(0));
    assert_eq!(forecast.took.map(|range| range.likely / 100), Some(142), "4 s and 1024 MiB at 100 MiB/s");
    assert_eq!(forecast.stored.map(|range| range.likely / MIB), Some(512));
    assert!(forecast.basis.ends_with("time: 2 runs of the service"), "{}", forecast.basis);
}

#[test]
fn errors_of_first_copies_say_how_far_allocated_bytes_are_off() {
    let allocated = past(vec![]).run_at(Timestamp(0));
    let other = |n| PastRun {
        whose: Whose::Connector,
        forecast: Some(allocated.clone()),
        ..run(n, Looked::FirstCopy, 1024 * MIB)
    };
    let read = past((0..5).map(other).collect()).run_at(Timestamp(0)).read.unwrap();
    assert!(read.low > 900 * MIB && read.high < 1150 * MIB, "{read:?}");
}

#[test]
fn how_much_changes_is_not_known_before_the_second_run() {
    let forecast = steady(0, 1, 0).run_at(Timestamp(HOUR));
    assert_eq!((forecast.looked, forecast.span), (Looked::Changes, Some(Millis::HOUR)));
    assert_eq!((forecast.read, forecast.stored, forecast.took), (None, None, None));
    assert_eq!(forecast.basis, "no run of changes yet: how much changes is not known");
}

#[test]
fn equal_changes_are_forecast_exactly() {
    let forecast = steady(2, 6, 100 * MIB).run_at(Timestamp(18 * HOUR));
    assert_eq!(forecast.read.map(|range| range.likely), Some(100 * MIB));
    assert_eq!(forecast.stored.map(|range| range.likely), Some(50 * MIB));
    assert_eq!(forecast.took.map(|range| range.likely), Some(5_000));
    assert_eq!(forecast.basis, "bytes: changes of 2 runs of the job; time: 2 runs of the job");
    let soon = steady(2, 6, 100 * MIB).run_at(Timestamp(13 * HOUR));
    assert_eq!(soon.read.map(|range| range.likely), Some((100 * MIB).div_ceil(6)), "a sixth of the time");
}

#[test]
fn what_a_run_at_work_replicates_is_not_counted_again() {
    let point_at_work = Some(Timestamp(15 * HOUR));
    let forecast = Past { point_at_work, ..steady(2, 6, 100 * MIB) }.run_at(Timestamp(18 * HOUR));
    assert_eq!(forecast.span, Some(Millis::HOUR.times(3)));
    assert_eq!(forecast.read.map(|range| range.likely), Some(50 * MIB));
}

#[test]
fn blocks_written_again_count_once() {
    // As the square root of the time.
    let bytes = |hours: i64| ((hours as f64).sqrt() * 100.0) as u64 * MIB;
    let mut at = 0;
    let changes = [1, 4, 9, 16, 4, 1].into_iter().map(|hours| {
        at += hours;
        run(at, Looked::Changes, bytes(hours))
    });
    let runs = std::iter::once(run(0, Looked::FirstCopy, 1024 * MIB)).chain(changes).collect();
    let forecast = past(runs).run_at(Timestamp((at + 25) * HOUR));
    let likely = forecast.read.unwrap().likely / MIB;
    assert!((490..=510).contains(&likely), "{likely}");
}

#[test]
fn nothing_changed_is_a_forecast_too() {
    let forecast = steady(5, 1, 0).run_at(Timestamp(6 * HOUR));
    let read = forecast.read.unwrap();
    assert!(read.likely == 0 && read.high < MIB, "{read:?}");
    let as_told = forecast.error(&Actual { read: 0, stored: 0, took: 4_000 });
    assert_eq!((as_told.read, as_told.stored, as_told.took), (Some(1.0), Some(1.0), Some(1.0)));
    assert_eq!(forecast.error(&Actual { read: 1, ..Actual::default() }).read, None, "no share of nothing");
}

#[test]
fn one_absurd_run_changes_little() {
    let good = steady(12, 1, 100 * MIB);
    let mut bad = good.clone();
    let mad = bad.runs.iter_mut().find(|run| run.point_at == Timestamp(6 * HOUR)).unwrap();
    mad.actual = Actual { read: SIZE, stored: SIZE, took: 1_000 * HOUR as u64 };
    let (good, bad) = (good.run_at(Timestamp(13 * HOUR)), bad.run_at(Timestamp(13 * HOUR)));
    for (good, bad) in [(good.read, bad.read), (good.stored, bad.stored), (good.took, bad.took)] {
        let (good, bad) = (good.unwrap(), bad.unwrap());
        assert!(bad.likely.abs_diff(good.likely) <= good.likely / 50, "{good:?} {bad:?}");
        // For what it read it stored only twice as much as others: that is no accident, and may come again.
        assert!(bad.high <= good.high * 5 / 2 && bad.low * 5 / 2 >= good.low, "{good:?} {bad:?}");
    }
}

#[test]
fn runs_that_read_everything_say_nothing_of_changes() {
    let mut past = steady(5, 1, 100 * MIB);
    past.runs.push(run(6, Looked::Everything, 1024 * MIB));
    past.runs.push(run(7, Looked::Changes, 100 * MIB));
    let forecast = past.run_at(Timestamp(8 * HOUR));
    assert_eq!(forecast.read.map(|range| range.likely), Some(100 * MIB));
}

#[test]
fn a_forecast_keeps_its_form_in_the_database() {
    let forecast = steady(2, 6, 100 * MIB).run_at(Timestamp(18 * HOUR));
    let text = serde_json::to_string(&forecast).unwrap();
    assert_eq!(serde_json::from_str::<Forecast>(&text).unwrap(), forecast);
}

/// A number between 0 and 1.
fn share(random: &mut TestRng) -> f64 {
    f64::from(random.next_u32()) / f64::from(u32::MAX)
}

/// Of median 1, mostly within a factor of two.
fn noise(random: &mut TestRng) -> f64 {
    (((0..12).map(|_| share(random)).sum::<f64>() - 6.0) * 0.35).exp()
}

/// A guest that writes to hot blocks often and to cold ones rarely; the forecasts that are made along its life, from the
/// eleventh run on, whether each held, and how many times its lower bound its upper one was: bytes read, bytes stored, time.
fn life(random: &mut TestRng) -> Vec<[(bool, f64); 3]> {
    let (hot, cold) = (100.0 + 200.0 * share(random), 10.0 + 40.0 * share(random));
    let mut past = steady(0, 1, 0);
    let (mut at, mut held) = (Timestamp(0), Vec::new());
    for n in 1..=40 {
        let hours = 12.0 + 2.0 * share(random);
        at = at + Millis((hours * HOUR as f64) as i64);
        let forecast = past.run_at(at);
        let read = (hot * (1.0 - (-hours / 3.0).exp()) + cold * hours) * noise(random) * MIB as f64;
        let read = (read as u64).min(SIZE);
        let stored = (read as f64 * (0.4 + 0.2 * share(random))) as u64;
        let took = ((5_000.0 + read as f64 / MIB as f64 * 12.0) * noise(random)) as u64;
        let actual = Actual { read, stored, took };
        if n > 10 {
            let told = |range: Option<Range>, actual| {
                let range = range.unwrap();
                (range.holds(actual), range.high as f64 / range.low as f64)
            };
            held.push([told(forecast.read, read), told(forecast.stored, stored), told(forecast.took, took)]);
        }
        let forecast = Some(forecast);
        past.runs.push(PastRun { whose: Whose::Job, point_at: at, looked: Looked::Changes, actual, forecast });
        if past.runs.len() > NEWEST {
            past.runs.remove(0);
        }
    }
    held
}

#[test]
fn behind_ten_runs_four_of_five_forecasts_hold() {
    use proptest::test_runner::RngAlgorithm;
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let held: Vec<_> = (0..50).flat_map(|_| life(&mut random)).collect();
    for (n, what) in ["read", "stored", "took"].into_iter().enumerate() {
        let good = held.iter().filter(|held| held[n].0).count();
        assert!(good * 5 >= held.len() * 4, "{what}: {good} of {} held", held.len());
        // What happens lies within a factor of two on either side: so may the bounds, and little more.
        let mut widths: Vec<f64> = held.iter().map(|held| held[n].1).collect();
        widths.sort_by(f64::total_cmp);
        assert!(
            widths[widths.len() / 2] < 8.0,
            "{what}: the upper bound is {} times the lower",
            widths[widths.len() / 2]
        );
    }
}

fn some_runs() -> impl Strategy<Value = Vec<PastRun>> {
    let whose = proptest::sample::select(vec![Whose::Job, Whose::Job, Whose::Connector, Whose::Service]);
    let looked =
        proptest::sample::select(vec![Looked::FirstCopy, Looked::Changes, Looked::Changes, Looked::Everything]);
    let bytes = || prop_oneof![Just(0), 0..SIZE, any::<u64>()];
    let at = prop_oneof![0..100 * HOUR, any::<i64>()];
    let forecast = proptest::option::of((bytes(), bytes(), looked.clone()).prop_map(|(read, took, looked)| Forecast {
        looked,
        span: None,
        read: Some(Range { low: 0, likely: read, high: u64::MAX }),
        stored: Some(Range { low: 0, likely: read, high: u64::MAX }),
        took: Some(Range { low: 0, likely: took, high: u64::MAX }),
        basis: String::new(),
    }));
    let run = (whose, at, looked, (bytes(), bytes(), bytes()), forecast);
    let run = run.prop_map(|(whose, at, looked, (read, stored, took), forecast)| PastRun {
        whose,
        point_at: Timestamp(at),
        looked,
        actual: Actual { read, stored, took },
        forecast,
    });
    proptest::collection::vec(run, 0..20)
}

fn ranges(forecast: &Forecast) -> Vec<Range> {
    [forecast.read, forecast.stored, forecast.took].into_iter().flatten().collect()
}

proptest! {
    #[test]
    fn whatever_was_the_bounds_are_in_order(
        runs in some_runs(), size: u64, allocated: Option<u64>, at: i64,
        underway in proptest::option::of((any::<u64>(), any::<u64>())),
    ) {
        let underway = underway.map(|(read, ahead)| Underway { read, ahead });
        let past = Past { size, allocated, runs, underway, point_at_work: None };
        let forecast = past.run_at(Timestamp(at));
        for range in ranges(&forecast) {
            prop_assert!(range.low <= range.likely && range.likely <= range.high, "{:?}", range);
        }
        if past.has_first_copy() {
            prop_assert!(forecast.read.is_none_or(|read| read.high <= size));
        }
        let error = forecast.error(&Actual { read: size, stored: size, took: size });
        for ratio in [error.read, error.stored, error.took].into_iter().flatten() {
            prop_assert!(ratio.is_finite() && ratio >= 0.0);
        }
    }

    #[test]
    fn the_order_of_runs_does_not_matter(runs in some_runs(), seed: u64, at in 0..1_000 * HOUR) {
        let mut turned = runs.clone();
        for n in (1..turned.len()).rev() {
            turned.swap(n, (seed.rotate_left(n as u32) % (n as u64 + 1)) as usize);
        }
        let forecast = |runs| past(runs).run_at(Timestamp(at));
        prop_assert_eq!(forecast(runs), forecast(turned));
    }

    #[test]
    fn a_longer_time_never_changes_less(
        reads in proptest::collection::vec(0..SIZE / 4, 1..12), hours in 0..100i64, more in 0..100i64,
    ) {
        let changes = reads.iter().enumerate().map(|(n, read)| run((n as i64 + 1) * 2 + n as i64 % 3, Looked::Changes, *read));
        let past = past(std::iter::once(run(0, Looked::FirstCopy, SIZE)).chain(changes).collect());
        let last = reads.len() as i64 * 2 + 2;
        let [sooner, later] = [hours, hours + more].map(|hours| ranges(&past.run_at(Timestamp((last + hours) * HOUR))));
        for (sooner, later) in sooner.iter().zip(&later) {
            prop_assert!(sooner.likely <= later.likely && sooner.high <= later.high, "{:?} {:?}", sooner, later);
        }
    }

    #[test]
    fn more_changes_never_forecast_less(
        reads in proptest::collection::vec(0..SIZE / 8, 1..12), times in 1..4u64,
    ) {
        let forecast = |times: u64| {
            let changes = reads.iter().enumerate().map(|(n, read)| run(n as i64 + 1, Looked::Changes, read * times));
            let runs = std::iter::once(run(0, Looked::FirstCopy, SIZE)).chain(changes).collect();
            past(runs).run_at(Timestamp((reads.len() as i64 + 1) * HOUR))
        };
        let (less, more) = (forecast(1), forecast(times));
        prop_assert!(less.read.map(|range| range.likely) <= more.read.map(|range| range.likely));
        let took = |forecast: &Forecast| forecast.took.map(|range| range.likely);
        prop_assert!(took(&less) <= took(&more).map(|ms| ms + 1), "{:?} {:?}", less, more);
    }
}
