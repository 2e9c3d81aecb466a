//! Throughput and latency over time, with the faults, as SVG.
//!
//! Invariant: a curve has at most [`POINTS_MAX`] points, and what is drawn many times is one path,
//! since the picture stands in git.
//!
//! Deliberately absent: a library. Two curves, their axes and some bars need less code than one.

use std::fmt::Write as _;
use std::time::Duration;

use crate::plan::Kind;
use crate::series::Point;
use crate::story::Story;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
/// Top and height of each panel.
const THROUGHPUT: (f64, f64) = (50.0, 190.0);
const LATENCY: (f64, f64) = (275.0, 190.0);
const FAULTS: (f64, f64) = (495.0, 112.0);
const HEIGHT: f64 = 650.0;
/// The lower end of the latency axis, in µs.
const FASTEST_US: f64 = 100.0;
const SLOWEST_US: f64 = 1e7;
const LINES_MAX: f64 = 12.0;
/// The points of a curve. A longer run has several seconds in a point.
const POINTS_MAX: usize = 400;

/// A line of the panel of faults.
struct Class {
    name: &'static str,
    colour: &'static str,
    kinds: &'static [Kind],
}

const CLASSES: [Class; 7] = [
    Class { name: "kill -9", colour: "#c62828", kinds: &[Kind::Kill] },
    Class { name: "SIGTERM, transfer", colour: "#ef6c00", kinds: &[Kind::Term, Kind::Transfer] },
    Class { name: "SIGSTOP", colour: "#6a1b9a", kinds: &[Kind::Pause] },
    Class {
        name: "cut, reset",
        colour: "#1565c0",
        kinds: &[Kind::CutPeers, Kind::CutRequests, Kind::CutAnswers, Kind::CutEtcd, Kind::CutOff, Kind::Reset],
    },
    Class { name: "narrow, long", colour: "#00838f", kinds: &[Kind::Narrow, Kind::Lengthen] },
    Class {
        name: "etcd away, data lost",
        colour: "#5d4037",
        kinds: &[Kind::StopEtcd, Kind::EmptyEtcd, Kind::RollBackEtcd],
    },
    Class { name: "join, leave", colour: "#2e7d32", kinds: &[Kind::Join, Kind::Leave] },
];

struct Axis {
    seconds: f64,
}

impl Axis {
    fn x(&self, at: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * at / self.seconds
    }
}

pub(crate) fn draw(story: &Story) -> String {
    let axis = Axis { seconds: story.lasted.as_secs_f64().max(1.0) };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"16\">Chaos, seed {}: {} faults, {} takeovers, {} violations</text>\n",
        story.seed,
        story.faults.len(),
        story.takeovers(),
        story.violations().len()
    );
    kills(&mut svg, story, &axis);
    throughput(&mut svg, story, &axis);
    latency(&mut svg, story, &axis);
    faults(&mut svg, story, &axis);
    minutes(&mut svg, &axis);
    svg += "</svg>\n";
    svg
}

/// Through all panels, since a reader looks for them first.
fn kills(svg: &mut String, story: &Story, axis: &Axis) {
    let (top, bottom) = (THROUGHPUT.0, LATENCY.0 + LATENCY.1);
    let kills = story.faults.iter().filter(|fault| fault.kind == Kind::Kill);
    let lines: String = kills.map(|fault| format!("M{:.1},{top}V{bottom}", axis.x(fault.from.as_secs_f64()))).collect();
    let _ = writeln!(svg, "<path stroke=\"#c62828\" stroke-opacity=\"0.25\" d=\"{lines}\"/>");
}

fn title(svg: &mut String, (top, _): (f64, f64), what: &str) {
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{what}</text>", top - 7.0);
}

fn gridline(svg: &mut String, y: f64, label: &str) {
    let right = WIDTH - RIGHT;
    let _ = writeln!(svg, "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>");
    let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 6.0, y + 4.0);
}

fn curve(svg: &mut String, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
    let points: String = points.map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
    let _ = writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\" points=\"{}\"/>",
        points.trim_end()
    );
}

fn throughput(svg: &mut String, story: &Story, axis: &Axis) {
    title(svg, THROUGHPUT, "acknowledged calls per second");
    let (points, seconds) = points(story);
    let most = points.iter().map(|point| point.acknowledged).fold(1.0, f64::max);
    let step = round_step(most / 4.0);
    let top = (most / step).ceil() * step;
    let y = |value: f64| THROUGHPUT.0 + THROUGHPUT.1 * (1.0 - value / top);
    let mut value = 0.0;
    while value <= top {
        gridline(svg, y(value), &format!("{value:.0}"));
        value += step;
    }
    // The last second is not complete.
    let whole = points.iter().take(points.len().saturating_sub(1));
    let at = |(at, point): (usize, &Point)| (axis.x((at as f64 + 0.5) * seconds as f64), y(point.acknowledged));
    curve(svg, whole.enumerate().map(at), "#1a237e");
}

/// With how many seconds each of them stands for.
fn points(story: &Story) -> (Vec<Point>, usize) {
    let seconds = (story.lasted.as_secs() as usize).div_ceil(POINTS_MAX).max(1);
    (story.series.points(seconds), seconds)
}

/// 1, 2 or 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= least).unwrap_or(power)
}

fn latency(svg: &mut String, story: &Story, axis: &Axis) {
    title(svg, LATENCY, "latency of acknowledged calls: median (blue), 99th percentile (orange)");
    let y = |time: Duration| {
        let us = (time.as_secs_f64() * 1e6).clamp(FASTEST_US, SLOWEST_US);
        LATENCY.0 + LATENCY.1 * (1.0 - (us / FASTEST_US).log10() / (SLOWEST_US / FASTEST_US).log10())
    };
    for (us, label) in [
        (100, "0.1 ms"),
        (1000, "1 ms"),
        (10_000, "10 ms"),
        (100_000, "0.1 s"),
        (1_000_000, "1 s"),
        (10_000_000, "10 s"),
    ] {
        gridline(svg, y(Duration::from_micros(us)), label);
    }
    let (points, seconds) = points(story);
    let of = |pick: fn(&Point) -> Option<Duration>| {
        points.iter().enumerate().filter_map(move |(at, point)| Some((at, pick(point)?)))
    };
    let at = |(at, time): (usize, Duration)| (axis.x((at as f64 + 0.5) * seconds as f64), y(time));
    curve(svg, of(|point| point.p99).map(at), "#ef6c00");
    curve(svg, of(|point| point.p50).map(at), "#1565c0");
}

fn faults(svg: &mut String, story: &Story, axis: &Axis) {
    title(svg, FAULTS, "faults");
    let height = FAULTS.1 / CLASSES.len() as f64;
    for (line, Class { name, colour, kinds }) in CLASSES.iter().enumerate() {
        let top = FAULTS.0 + height * line as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"9\" fill=\"{colour}\">{name}</text>",
            LEFT - 4.0,
            top + height - 5.0
        );
        let bars = story.faults.iter().filter(|fault| kinds.contains(&fault.kind)).map(|fault| {
            let from = axis.x(fault.from.as_secs_f64());
            let width = (axis.x(fault.upto.unwrap_or(fault.from).as_secs_f64()) - from).max(1.5);
            format!("M{from:.1},{:.1}h{width:.1}", top + height / 2.0)
        });
        let _ = writeln!(
            svg,
            "<path stroke=\"{colour}\" stroke-width=\"{:.1}\" d=\"{}\"/>",
            height - 4.0,
            bars.collect::<String>()
        );
    }
}

fn minutes(svg: &mut String, axis: &Axis) {
    let step = round_step(axis.seconds / LINES_MAX).max(5.0);
    let (mut at, bottom) = (0.0, FAULTS.0 + FAULTS.1);
    while at <= axis.seconds {
        let x = axis.x(at);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{bottom}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#888888\"/>",
            bottom + 5.0
        );
        let label = format!("{}:{:02}", at as u64 / 60, at as u64 % 60);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", bottom + 19.0);
        at += step;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">minutes : seconds</text>",
        WIDTH - RIGHT,
        bottom + 35.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Who;
    use crate::story::Came;

    #[test]
    fn every_kind_of_fault_is_drawn_and_every_number_is_one() {
        let at = Duration::from_secs;
        let came = |kind| Came {
            kind,
            who: Who::Primary,
            name: "m1".to_owned(),
            from: at(3),
            upto: None,
            epoch: 1,
            alone: true,
        };
        let mut story = Story { lasted: at(90), faults: Kind::ALL.map(came).into(), ..Story::default() };
        assert!(!draw(&Story::default()).contains("NaN"), "a run in which nothing happened");
        for second in 0..90 {
            story.series.on_acknowledged(at(second), Duration::from_micros(400), true);
        }
        let svg = draw(&story);
        let bars = svg.lines().filter(|line| line.contains("stroke-width") && line.starts_with("<path"));
        assert_eq!(bars.map(|line| line.matches('M').count()).sum::<usize>(), Kind::ALL.len());
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), 3);
    }

    #[test]
    fn curves_of_a_long_run_are_as_small_as_those_of_a_short_one() {
        let mut story = Story { lasted: Duration::from_secs(20_000), ..Story::default() };
        for second in 0..20_000 {
            story.series.on_acknowledged(Duration::from_secs(second), Duration::from_micros(second + 1), true);
        }
        let svg = draw(&story);
        assert!(svg.len() < 24 << 10, "{} bytes", svg.len());
    }
}
