//! Lines, power laws and bands, fitted by medians.

use super::{ENOUGH_ERRORS, Range};

/// How far off a forecast may be of which too few errors are known: thrice as much, a third.
const UNKNOWN: f64 = 1.0986;

/// What no band is narrower than: a tenth more, a tenth less.
const LEAST: f64 = 0.0954;

/// Errors further off than so many times the median deviation are accidents.
const ACCIDENT: f64 = 5.0;

/// No error is an accident that is less than this: twice as much, a half.
const ORDINARY: f64 = std::f64::consts::LN_2;

/// Share of errors that lie on either side of a band.
const TAIL: f64 = 0.05;

/// How differently long two spans must be to say anything of the exponent.
const DIFFERENT_SPANS: f64 = 1.25;

/// How far off: the logarithm of `actual` by `likely`, blind for what is below the grain.
pub(super) fn distance(actual: f64, likely: f64, grain: f64) -> f64 {
    ((actual.max(0.0) + grain) / (likely.max(0.0) + grain)).ln()
}

/// Logarithms of the factors from what is likely to low and high: one at most 0, one at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    low: f64,
    high: f64,
}

impl Band {
    /// Of errors.
    pub(super) fn of(errors: &[f64]) -> Band {
        if errors.len() < ENOUGH_ERRORS {
            return Band { low: -UNKNOWN, high: UNKNOWN };
        }
        let middle = median(errors.to_vec());
        let deviation = median(errors.iter().map(|error| (error - middle).abs()).collect());
        let reach = (ACCIDENT * deviation).max(ORDINARY);
        let mut kept: Vec<f64> = errors.iter().copied().filter(|error| (error - middle).abs() <= reach).collect();
        kept.sort_by(f64::total_cmp);
        // Few errors have not shown all that may happen.
        let unseen = 1.0 + 2.0 / errors.len() as f64;
        let tail = (kept.len() as f64 * TAIL) as usize;
        let at = |index: usize| kept.get(index).copied().unwrap_or_default() * unseen;
        Band { low: at(tail).min(-LEAST), high: at(kept.len().saturating_sub(1 + tail)).max(LEAST) }
    }

    fn widened(self, by: f64) -> Band {
        Band { low: self.low - by, high: self.high + by }
    }

    /// The range around what is likely.
    pub(super) fn around(self, likely: f64, grain: f64, most: u64) -> Range {
        self.between(likely, likely, likely, grain, most)
    }

    /// The range around what is likely, whose bounds are moved before.
    fn between(self, low: f64, likely: f64, high: f64, grain: f64, most: u64) -> Range {
        let moved = |from: f64, by: f64| (from + grain) * by.exp() - grain;
        Range::of(moved(low, self.low), likely, moved(high, self.high), most)
    }
}

/// `base + slope × x`, neither negative.
#[derive(Debug)]
pub(super) struct Line {
    base: f64,
    slope: f64,
    points: Vec<(f64, f64)>,
}

impl Line {
    /// Through the middle of points (Theil and Sen): slope and base are medians. One point only says a proportion.
    pub(super) fn of(points: &[(f64, f64)]) -> Option<Line> {
        if points.is_empty() {
            return None;
        }
        let far = points.iter().map(|(x, _)| *x).fold(0.0, f64::max) / 100.0;
        let mut slopes = Vec::new();
        for (n, a) in points.iter().enumerate() {
            let others = points.iter().skip(n + 1).filter(|b| (b.0 - a.0).abs() > far);
            slopes.extend(others.map(|b| (b.1 - a.1) / (b.0 - a.0)));
        }
        let base_of = |slope: f64| median(points.iter().map(|(x, y)| y - slope * x).collect());
        let slope = if slopes.is_empty() { f64::INFINITY } else { median(slopes).max(0.0) };
        let (base, slope) = match slope.is_finite().then(|| base_of(slope)) {
            Some(base) if base >= 0.0 => (base, slope),
            _ => {
                let proportions: Vec<f64> = points.iter().filter(|(x, _)| *x > 0.0).map(|(x, y)| y / x).collect();
                let slope = if proportions.is_empty() { 0.0 } else { median(proportions) };
                (base_of(slope).max(0.0), slope)
            }
        };
        Some(Line { base, slope, points: points.to_vec() })
    }

    fn at(&self, x: f64) -> f64 {
        self.base + self.slope * x
    }

    /// What follows from a range of bytes read. If enough errors are known, they say the width; else what is read and
    /// how far the points lie off the line. Beyond the furthest point it grows.
    pub(super) fn through(&self, read: Range, errors: &[f64], grain: f64, most: u64) -> Range {
        let [low, likely, high] = [read.low, read.likely, read.high].map(|x| self.at(x as f64));
        if errors.len() >= ENOUGH_ERRORS {
            return Band::of(errors).around(likely, grain, most);
        }
        let off: Vec<f64> = self.points.iter().map(|(x, y)| distance(*y, self.at(*x), grain)).collect();
        let furthest = self.points.iter().map(|(x, _)| *x).fold(1.0, f64::max);
        let beyond = (read.likely as f64 / furthest).max(1.0).ln() / 2.0;
        Band::of(&off).widened(beyond).between(low, likely, high, grain, most)
    }
}

/// `factor × span^exponent`, the exponent between 0 and 1.
#[derive(Debug)]
pub(super) struct Law {
    factor: f64,
    exponent: f64,
}

impl Law {
    /// Through points of span and bytes.
    pub(super) fn of(points: &[(f64, f64)]) -> Law {
        let mut exponents = Vec::new();
        let positive: Vec<_> = points.iter().filter(|(span, bytes)| *span > 0.0 && *bytes > 0.0).collect();
        for (n, a) in positive.iter().enumerate() {
            for b in positive.iter().skip(n + 1) {
                let spans = (b.0 / a.0).ln();
                if spans.abs() >= DIFFERENT_SPANS.ln() {
                    exponents.push((b.1 / a.1).ln() / spans);
                }
            }
        }
        // A pair or two is chance.
        let exponent = if exponents.len() < 3 { 1.0 } else { median(exponents).clamp(0.0, 1.0) };
        let factors: Vec<f64> = points.iter().map(|(span, bytes)| bytes / span.max(1.0).powf(exponent)).collect();
        Law { factor: if factors.is_empty() { 0.0 } else { median(factors) }, exponent }
    }

    pub(super) fn at(&self, span: f64) -> f64 {
        if span <= 0.0 { 0.0 } else { self.factor * span.max(1.0).powf(self.exponent) }
    }
}

/// The middle one, or between the two in the middle. Of nothing: 0.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(below), Some(above)) if values.len().is_multiple_of(2) => below / 2.0 + above / 2.0,
        (_, Some(middle)) => *middle,
        _ => 0.0,
    }
}
