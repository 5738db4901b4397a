//! Line charts over epochs or steps.

use crate::report::{Axis, escape, number, percent};

/// Curve: `[completed epochs or steps, value]` in order. A value that is not drawable leaves a gap.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<[f64; 2]>,
}

/// Unit of a chart's horizontal axis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Across {
    Epochs,
    Steps,
    /// Operations of one step.
    Operations,
}

impl Across {
    /// A place on the axis, and the axis itself, in words.
    fn name(self) -> &'static str {
        match self {
            Self::Epochs => "epoch",
            Self::Steps => "step",
            Self::Operations => "operation",
        }
    }

    fn moment(self, place: f64) -> String {
        if place == 0.0 { "start".to_owned() } else { format!("{} {place}", self.name()) }
    }
}

/// Unit of the values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Number,
    /// Share, shown in percent.
    Share,
}

/// Size, margins and tick counts of a chart, in SVG units.
pub(super) struct Frame {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    x_ticks: usize,
    y_ticks: usize,
}

/// Frame of a chart with two curves, two charts a row.
pub(super) const WIDE: Frame =
    Frame { width: 470.0, height: 270.0, left: 50.0, right: 48.0, x_ticks: 10, y_ticks: 5 };

/// Frame of a chart with one curve, three charts a row.
pub(super) const SMALL: Frame =
    Frame { width: 320.0, height: 180.0, left: 46.0, right: 54.0, x_ticks: 6, y_ticks: 4 };

/// Frame of a chart over steps, whose last value may be as small as a learning rate at its end.
pub(super) const STEPS: Frame =
    Frame { width: 320.0, height: 180.0, left: 46.0, right: 70.0, x_ticks: 5, y_ticks: 4 };

const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;

/// Least distance between the baselines of two labels.
const LINE: f64 = 17.0;

/// Most points of a curve with large markers.
const FEW: usize = 20;

/// Most points of a curve with markers.
const MANY: usize = 120;

/// Line chart of one or more curves.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) across: Across,
    pub(super) unit: Unit,
    pub(super) frame: &'a Frame,
    /// Interval that the value axis contains.
    pub(super) range: [f64; 2],
    pub(super) series: Vec<Series<'a>>,
}

/// Whether a value is drawable: finite, and small enough that axis arithmetic on it stays finite.
pub(super) fn drawable(value: f64) -> bool {
    value.abs() < 1e30
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Number => number(value),
            Self::Share => percent(value),
        }
    }

    fn tick(self, value: f64, axis: &Axis) -> String {
        match self {
            Self::Number if value.abs() >= 1e5 => format!("{value:e}"),
            Self::Number => format!("{value:.*}", axis.decimals(1.0)),
            Self::Share => format!("{:.*}\u{a0}%", axis.decimals(100.0), 100.0 * value),
        }
    }
}

impl Chart<'_> {
    /// The chart as SVG.
    pub(super) fn svg(&self) -> String {
        let points = self.series.iter().flat_map(|series| &series.points);
        let (first, last) = points
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(first, last), [x, _]| (first.min(*x), last.max(*x)));
        let x_axis = Axis::whole(if first <= last { [first, last] } else { [0.0, 1.0] }, self.frame.x_ticks);
        let y_axis = Axis::around(self.range, self.frame.y_ticks);
        let Frame { width, height, left, right, .. } = *self.frame;
        let x = |value: f64| left + x_axis.place(value) * (width - left - right);
        let y = |value: f64| height - BOTTOM - y_axis.place(value) * (height - TOP - BOTTOM);

        let mut svg = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.summary())
        );
        for value in y_axis.ticks() {
            let (y, right, label) = (y(value), width - right, self.unit.tick(value, &y_axis));
            svg += &format!("<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>");
            svg += &format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 8.0,
                y + 4.0
            );
        }
        let base = height - BOTTOM;
        svg += &format!("<path class=\"axis\" d=\"M{left} {base}H{}\"/>", width - right);
        for value in x_axis.ticks() {
            let x = x(value);
            svg += &format!("<path class=\"axis\" d=\"M{x:.1} {base}v4\"/>");
            svg += &format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>", base + 18.0);
        }
        svg += &format!(
            "<text class=\"name\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            (left + width - right) / 2.0,
            height - 5.0,
            self.across.name()
        );
        for (index, series) in self.series.iter().enumerate() {
            svg += &format!("<g class=\"s{index}\">{}</g>", self.curve(index, series, &x, &y));
        }
        svg += &self.labels(&y);
        if !self.series.iter().any(|series| series.last().is_some()) {
            svg += &format!(
                "<text class=\"none\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">no number to draw</text>",
                (left + width - right) / 2.0,
                (TOP + base) / 2.0
            );
        }
        svg + "</svg>"
    }

    /// Polyline through a series' points, with a marker and a tooltip at each.
    fn curve(
        &self,
        index: usize,
        series: &Series<'_>,
        x: &dyn Fn(f64) -> f64,
        y: &dyn Fn(f64) -> f64,
    ) -> String {
        let mut path = String::new();
        let mut markers = String::new();
        let mut pen = 'M';
        let radius = if series.points.len() > FEW { 1.5 } else { 3.5 };
        // Markers of many points would cover the curve; the line alone is drawn.
        let is_marked = series.points.len() <= MANY;
        for &[place, value] in &series.points {
            if !drawable(value) {
                pen = 'M';
                continue;
            }
            let (x, y) = (x(place), y(value));
            path += &format!("{pen}{x:.1} {y:.1}");
            pen = 'L';
            if !is_marked {
                continue;
            }
            let tip =
                format!("{}, {}: {}", escape(series.name), self.across.moment(place), self.unit.show(value));
            markers += &format!("{}<title>{tip}</title></path>", marker(index, x, y, radius));
        }
        if path.is_empty() { path } else { format!("<path class=\"line\" d=\"{path}\"/>{markers}") }
    }

    /// Labels at the right ends of the curves: their names, or the last value of a single curve. Overlapping labels are moved
    /// apart.
    fn labels(&self, y: &dyn Fn(f64) -> f64) -> String {
        let mut labels: Vec<_> = self
            .series
            .iter()
            .enumerate()
            .filter_map(|(index, series)| {
                let value = series.last()?;
                let text = if self.series.len() > 1 { escape(series.name) } else { self.unit.show(value) };
                Some((y(value), index, text))
            })
            .collect();
        labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut heights: Vec<f64> = labels.iter().map(|label| label.0).collect();
        move_apart(&mut heights, self.frame.height - BOTTOM);
        let x = self.frame.width - self.frame.right + 9.0;
        labels
            .iter()
            .zip(heights)
            .map(|((_, index, text), y)| {
                format!("<text class=\"label s{index}\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>", y + 4.0)
            })
            .collect()
    }

    /// Description for screen readers.
    fn summary(&self) -> String {
        let parts = self.series.iter().map(|series| match (series.first(), series.last()) {
            (Some(first), Some(last)) => {
                format!("{} from {} to {}", series.name, self.unit.show(first), self.unit.show(last))
            }
            _ => format!("{} without a number", series.name),
        });
        format!("{} over {}s: {}", self.title, self.across.name(), parts.collect::<Vec<_>>().join("; "))
    }

    /// Legend: marker and name of each curve.
    pub(super) fn legend(&self) -> String {
        let keys = self.series.iter().enumerate().map(|(index, series)| {
            format!(
                "<li><svg class=\"s{index}\" viewBox=\"0 0 28 12\" aria-hidden=\"true\"><path class=\"line\" d=\"M1 \
                 6H27\"/>{}</path></svg>{}</li>",
                marker(index, 14.0, 6.0, 3.5),
                escape(series.name)
            )
        });
        format!("<ul class=\"legend\">{}</ul>", keys.collect::<String>())
    }
}

impl Series<'_> {
    fn drawn(&self) -> impl DoubleEndedIterator<Item = f64> {
        self.points.iter().map(|point| point[1]).filter(|&value| drawable(value))
    }

    fn first(&self) -> Option<f64> {
        self.drawn().next()
    }

    fn last(&self) -> Option<f64> {
        self.drawn().next_back()
    }
}

/// Time in words, from the number of completed epochs.
pub(super) fn moment(epochs: f64) -> String {
    Across::Epochs.moment(epochs)
}

/// Least and greatest drawable value; 0 and 1 where there is none.
pub(super) fn extent(series: &[Series<'_>]) -> [f64; 2] {
    let values = series.iter().flat_map(|series| &series.points).map(|point| point[1]);
    let [low, high] = values
        .filter(|&value| drawable(value))
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)]);
    if low <= high { [low, high] } else { [0.0, 1.0] }
}

/// Opening tag of a marker. Curves differ in shape as well as in colour: a circle, a diamond, or a square.
fn marker(index: usize, x: f64, y: f64, radius: f64) -> String {
    let shape = match index % 3 {
        0 => {
            let turn = format!("a{radius} {radius} 0 1 1");
            format!("M{:.1} {y:.1}{turn} {d} 0{turn} -{d} 0z", x - radius, d = 2.0 * radius)
        }
        1 => {
            let side = radius + 0.8;
            format!("M{x:.1} {:.1}l{side} {side}l-{side} {side}l-{side} -{side}z", y - side)
        }
        _ => {
            let side = 2.0 * radius - 0.5;
            format!("M{:.1} {:.1}h{side}v{side}h-{side}z", x - side / 2.0, y - side / 2.0)
        }
    };
    format!("<path class=\"marker\" d=\"{shape}\">")
}

/// Moves ascending heights to a distance of at least [`LINE`], none below `bottom`.
fn move_apart(heights: &mut [f64], bottom: f64) {
    for index in 1..heights.len() {
        heights[index] = heights[index].max(heights[index - 1] + LINE);
    }
    let mut room = bottom;
    for height in heights.iter_mut().rev() {
        *height = height.min(room);
        room = *height - LINE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_touch() {
        let mut heights = [100.0, 101.0, 160.0];
        move_apart(&mut heights, 160.0);
        assert_eq!(heights, [100.0, 117.0, 160.0]);
        let mut heights = [158.0, 159.0];
        move_apart(&mut heights, 160.0);
        assert_eq!(heights, [143.0, 160.0]);
    }
}
