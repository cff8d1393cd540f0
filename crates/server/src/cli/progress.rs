//! Progress of long work: a bar where somebody looks at it, plain lines where it is written down.

use crate::cli::human;
use crate::cli::output;
use crate::outside;
use godwit_model::time::{Millis, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A line at least this often, so that a log shows that something goes on.
const LINE_EVERY: Millis = Millis::SECOND.times(10);
/// What is over sooner is not worth a line.
const QUIET: Millis = Millis::SECOND.times(3);
/// A line at least every so many percent.
const LINE_PERCENT: f64 = 10.0;
/// The bar counts in tenths of percents.
const TENTHS: f64 = 10.0;

/// How far the work is.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// What is being done: a stage.
    pub stage: String,
    /// With what: a volume, for example. May be empty.
    pub subject: String,
    /// 0 to 100; `None` if nobody knows.
    pub percent: Option<f64>,
    /// Content bytes per second.
    pub pace: Option<f64>,
    /// Seconds left.
    pub seconds_left: Option<f64>,
    /// What holds it back.
    pub held_back: Option<String>,
}

impl Step {
    /// A step of which only the name is known.
    pub fn named(stage: impl Into<String>) -> Self {
        Self {
            stage: stage.into(),
            subject: String::new(),
            percent: None,
            pace: None,
            seconds_left: None,
            held_back: None,
        }
    }

    fn tail(&self) -> String {
        let pace = self.pace.filter(|pace| *pace > 0.0).map(human::pace);
        let left = self.seconds_left.filter(|left| left.is_finite()).map(|seconds| {
            let ms = (seconds.clamp(0.0, 1e9) * 1e3) as i64;
            format!("{} left", human::span(Millis(ms)))
        });
        let held_back = self.held_back.as_deref().map(|by| format!("held back by {by}"));
        [pace, left, held_back].into_iter().flatten().collect::<Vec<_>>().join("  ")
    }
}

/// Shows steps. Until the first one there is nothing to see.
pub enum Progress {
    /// On a terminal.
    Bar {
        /// The line on the terminal.
        bar: ProgressBar,
        /// Whether it shows how far the work is; `None` before the first step.
        measured: Option<bool>,
    },
    /// In a log.
    Lines {
        /// Before this, nothing is told.
        from: Timestamp,
        /// What was told last, and when.
        told: Option<(Step, Timestamp)>,
    },
}

impl Progress {
    /// As fits standard error. A log is not told of what is over soon.
    pub fn new() -> Self {
        Self::told_from(outside::now() + QUIET)
    }

    /// As fits standard error, for somebody who asked to see it: a log is told from the first step on.
    pub fn watched() -> Self {
        Self::told_from(outside::now())
    }

    fn told_from(from: Timestamp) -> Self {
        if output::draws() {
            Progress::Bar { bar: ProgressBar::new((100.0 * TENTHS) as u64), measured: None }
        } else {
            Progress::Lines { from, told: None }
        }
    }

    /// Shows where the work is.
    pub fn show(&mut self, step: &Step) {
        match self {
            Progress::Bar { bar, measured } => {
                let is_first = measured.is_none();
                let is_measured = step.percent.is_some();
                if measured.replace(is_measured) != Some(is_measured) {
                    bar.set_style(style(is_measured));
                }
                fill(bar, step);
                if is_first {
                    bar.enable_steady_tick(Duration::from_millis(120));
                }
            }
            Progress::Lines { from, told } => {
                let now = outside::now();
                if is_news(told.as_ref(), step, now, *from) {
                    output::aside(line(step, now));
                    *told = Some((step.clone(), now));
                }
            }
        }
    }

    /// Takes the bar away: what comes next is the result.
    pub fn end(self) {
        if let Progress::Bar { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

/// Sets all parts without drawing: the next tick draws them together, not each with the old ones of the others.
fn fill(bar: &ProgressBar, step: &Step) {
    let percent = step.percent.map(|percent| format!("{percent:>3.0} %")).unwrap_or_default();
    let message = [percent, step.tail()].join("  ").trim_end().to_owned();
    let position = (step.percent.unwrap_or_default().clamp(0.0, 100.0) * TENTHS) as u64;
    let _ = bar.clone().with_prefix(heading(step)).with_message(message).with_position(position);
}

fn heading(step: &Step) -> String {
    [step.stage.as_str(), step.subject.as_str()].join("  ").trim_end().to_owned()
}

fn style(is_measured: bool) -> ProgressStyle {
    let template = if is_measured {
        "{spinner:.cyan} {prefix}  {bar:28.cyan/238} {msg}"
    } else {
        "{spinner:.cyan} {prefix}  {msg}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸━")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

fn is_news(told: Option<&(Step, Timestamp)>, step: &Step, now: Timestamp, from: Timestamp) -> bool {
    let Some((last, at)) = told else { return now >= from };
    (&last.stage, &last.subject, &last.held_back) != (&step.stage, &step.subject, &step.held_back)
        || step.percent.unwrap_or_default() - last.percent.unwrap_or_default() >= LINE_PERCENT
        || now - *at >= LINE_EVERY
}

fn line(step: &Step, now: Timestamp) -> String {
    let percent = step.percent.map(|percent| format!("{percent:>3.0} %")).unwrap_or_default();
    let parts = [human::clock(now), step.stage.clone(), step.subject.clone(), percent, step.tail()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::io;
    use std::sync::{Arc, Mutex};

    fn step(stage: &str, percent: f64) -> Step {
        Step { percent: Some(percent), pace: Some(12.3e6), seconds_left: Some(83.0), ..Step::named(stage) }
    }

    #[test]
    fn a_line_tells_all_that_is_known() {
        let told = line(&Step { subject: "vda (1 of 2)".into(), ..step("Transferring", 41.6) }, Timestamp(0));
        assert!(told.ends_with("  Transferring  vda (1 of 2)   42 %  12.3 MB/s  1 min 23 s left"), "{told}");
        assert!(line(&Step::named("Cleaning"), Timestamp(0)).ends_with("  Cleaning"));
        let held = Step { held_back: Some("the cap over all runs".into()), ..step("Transferring", 41.6) };
        assert!(line(&held, Timestamp(0)).ends_with("1 min 23 s left  held back by the cap over all runs"));
    }

    #[test]
    fn lines_come_when_there_is_news_and_now_and_then() {
        let (at, last) = (Timestamp(0), step("Transferring", 10.0));
        let told = (last.clone(), at);
        let is_news = |step: &Step, now: Timestamp| is_news(Some(&told), step, now, at);
        assert!(!is_news(&step("Transferring", 19.0), at + Millis::SECOND));
        assert!(is_news(&step("Transferring", 20.0), at + Millis::SECOND));
        assert!(is_news(&step("Verifying", 0.0), at + Millis::SECOND));
        assert!(is_news(&last, at + LINE_EVERY));
    }

    #[test]
    fn what_is_over_soon_has_no_line() {
        let (from, step) = (Timestamp(5_000), Step::named("Importing"));
        assert!(!is_news(None, &step, from - Millis(1), from));
        assert!(is_news(None, &step, from, from));
    }

    /// A terminal that keeps what is written to it.
    #[derive(Clone, Default, Debug)]
    struct Paper(Arc<Mutex<String>>);

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            120
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_terminal_sees_whole_steps_only() {
        let paper = Paper::default();
        let target = ProgressDrawTarget::term_like(Box::new(paper.clone()));
        let bar = ProgressBar::with_draw_target(Some(1_000), target).with_style(style(true));
        fill(&bar, &step("Transferring", 41.6));
        assert_eq!(*paper.0.lock().unwrap(), "");
        bar.tick();
        let seen = paper.0.lock().unwrap().clone();
        assert!(seen.contains("Transferring  ") && seen.contains(" 42 %  12.3 MB/s  1 min 23 s left"), "{seen}");
    }

    #[test]
    fn both_styles_are_valid() {
        for is_measured in [true, false] {
            let _ = style(is_measured);
        }
        assert!(ProgressStyle::with_template("{spinner:.cyan} {prefix}  {bar:28.cyan/238} {msg}").is_ok());
    }
}
