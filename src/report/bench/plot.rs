//! Scatter and line charts, with linear or logarithmic axes.

use crate::report::{Axis, escape};

/// Axis with its name.
pub(super) struct Side {
    pub(super) name: &'static str,
    scale: Scale,
}

enum Scale {
    Even(Axis),
    /// Logarithmic axis of this interval.
    Log([f64; 2]),
}

/// Points of one kind, joined or not: `[x, y]` and a tooltip each.
pub(super) struct Series {
    /// Index of colour and marker shape.
    pub(super) kind: usize,
    pub(super) name: String,
    pub(super) points: Vec<([f64; 2], String)>,
    pub(super) joined: bool,
}

/// Reference line: a ceiling, or parity.
pub(super) struct Guide {
    pub(super) points: Vec<[f64; 2]>,
    /// Text at one end: below the first point, or above the last.
    pub(super) note: Option<(End, String)>,
}

/// End of a guide.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    First,
    Last,
}

/// Chart of series and guides.
pub(super) struct Plot {
    /// Description for screen readers.
    pub(super) summary: String,
    pub(super) size: [f64; 2],
    pub(super) x: Side,
    pub(super) y: Side,
    pub(super) guides: Vec<Guide>,
    pub(super) series: Vec<Series>,
}

const LEFT: f64 = 52.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 42.0;

impl Side {
    /// Linear axis from 0 to 1.
    pub(super) fn share(name: &'static str) -> Self {
        Self { name, scale: Scale::Even(Axis::around([0.0, 1.0], 5)) }
    }

    /// Logarithmic axis around all positive finite values, with a margin of a factor of 1.4.
    pub(super) fn log(name: &'static str, values: impl Iterator<Item = f64>) -> Self {
        let drawable = values.filter(|value| value.is_finite() && *value > 0.0);
        let [low, high] =
            drawable.fold([f64::INFINITY, 0.0f64], |[low, high], value| [low.min(value), high.max(value)]);
        let [low, high] = if low <= high { [low / 1.4, high * 1.4] } else { [0.1, 10.0] };
        Self { name, scale: Scale::Log([low, high]) }
    }

    fn place(&self, value: f64) -> f64 {
        match &self.scale {
            Scale::Even(axis) => axis.place(value),
            Scale::Log([low, high]) => (value / low).ln() / (high / low).ln(),
        }
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match &self.scale {
            Scale::Even(axis) => {
                let text = |tick: f64| format!("{tick:.*}", axis.decimals(1.0));
                axis.ticks().into_iter().map(|tick| (tick, text(tick))).collect()
            }
            Scale::Log([low, high]) => {
                let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
                let steps: &[f64] = if high / low > 2e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let ticks = powers.flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
                let inside = ticks.filter(|tick| (low..=high).contains(&tick));
                inside.map(|tick| (tick, format!("{}", (tick * 1e9).round() / 1e9))).collect()
            }
        }
    }
}

impl Plot {
    /// The chart as SVG.
    pub(super) fn svg(&self) -> String {
        let [width, height] = self.size;
        let at = |[x, y]: [f64; 2]| {
            [
                LEFT + self.x.place(x) * (width - LEFT - RIGHT),
                height - BOTTOM - self.y.place(y) * (height - TOP - BOTTOM),
            ]
        };
        let (base, end) = (height - BOTTOM, width - RIGHT);
        let mut svg = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.summary)
        );
        for (tick, text) in self.y.ticks() {
            let y = height - BOTTOM - self.y.place(tick) * (height - TOP - BOTTOM);
            svg += &format!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{end}\"/>");
            svg +=
                &format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 8.0, y + 4.0);
        }
        svg += &format!("<path class=\"axis\" d=\"M{LEFT} {base}H{end}\"/>");
        for (tick, text) in self.x.ticks() {
            let x = LEFT + self.x.place(tick) * (width - LEFT - RIGHT);
            svg += &format!("<path class=\"axis\" d=\"M{x:.1} {base}v4\"/>");
            svg += &format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", base + 18.0);
        }
        let middle = (LEFT + end) / 2.0;
        svg += &format!(
            "<text x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            height - 6.0,
            self.x.name
        );
        svg += &format!("<text x=\"{LEFT}\" y=\"10\">{}</text>", self.y.name);
        for guide in &self.guides {
            svg += &format!(
                "<path class=\"guide\" d=\"{}\"/>",
                path(guide.points.iter().map(|&point| at(point)))
            );
            if let (Some((end, text)), [first, .., last]) = (&guide.note, &guide.points[..]) {
                let ([x, y], anchor) = match end {
                    End::First => ([at(*first)[0] + 4.0, at(*first)[1] + 14.0], "start"),
                    End::Last => ([at(*last)[0], at(*last)[1] - 6.0], "end"),
                };
                let text = escape(text);
                svg += &format!(
                    "<text class=\"note\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
                );
            }
        }
        for series in &self.series {
            let drawable =
                |([x, y], _): &&([f64; 2], String)| x.is_finite() && y.is_finite() && *x > 0.0 && *y > 0.0;
            let points: Vec<_> = series.points.iter().filter(drawable).collect();
            svg += &format!("<g class=\"k{}\">", series.kind);
            if series.joined {
                svg += &format!(
                    "<path class=\"line\" d=\"{}\"/>",
                    path(points.iter().map(|(point, _)| at(*point)))
                );
            }
            for (point, tip) in points {
                let shape = marker(series.kind, at(*point), 4.0);
                svg += &format!("<path class=\"marker\" d=\"{shape}\"><title>{}</title></path>", escape(tip));
            }
            svg += "</g>";
        }
        svg + "</svg>"
    }
}

fn path(points: impl Iterator<Item = [f64; 2]>) -> String {
    let mut path = String::new();
    for (index, [x, y]) in points.enumerate() {
        path += &format!("{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    path
}

/// Path of a kind's marker. Kinds differ in shape as well as in colour.
fn marker(kind: usize, [x, y]: [f64; 2], size: f64) -> String {
    let polygon = |corners: usize, turn: f64, radius: f64| {
        let corner = |at: usize| {
            let angle = (at as f64 / corners as f64 + turn) * std::f64::consts::TAU;
            [x + radius * angle.sin(), y - radius * angle.cos()]
        };
        path((0..corners).map(corner)) + "z"
    };
    match kind % 7 {
        0 => format!(
            "M{:.1} {y:.1}a{size} {size} 0 1 1 {d} 0a{size} {size} 0 1 1 -{d} 0z",
            x - size,
            d = 2.0 * size
        ),
        1 => polygon(4, 0.0, size * 1.3),
        2 => polygon(4, 0.125, size * 1.25),
        3 => polygon(3, 0.0, size * 1.35),
        4 => polygon(3, 0.5, size * 1.35),
        5 => polygon(6, 0.0, size * 1.15),
        _ => polygon(5, 0.0, size * 1.2),
    }
}

/// Legend: marker and name of each kind.
pub(super) fn legend<'a>(kinds: impl Iterator<Item = (usize, &'a str)>) -> String {
    let keys = kinds.map(|(kind, name)| {
        format!(
            "<li><svg class=\"k{kind}\" viewBox=\"0 0 28 12\" aria-hidden=\"true\"><path class=\"marker\" d=\"{}\"/></svg>{}</li>",
            marker(kind, [14.0, 6.0], 4.0),
            escape(name)
        )
    });
    format!("<ul class=\"legend\">{}</ul>", keys.collect::<String>())
}
