//! The tables: medians with their spread, what we cost against the others, and the bar.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::measure::{Metric, Sample};

/// The peer whose bar it is.
const US: &str = "anabranch";

const COLUMNS: [(Metric, &str); 7] = [
    (Metric::Cpu, "CPU µs a request"),
    (Metric::PerSecond, "requests/s"),
    (Metric::AddedP50, "added p50 ms"),
    (Metric::AddedP99, "added p99 ms"),
    (Metric::AddedP999, "added p99.9 ms"),
    (Metric::Rest, "at rest MiB"),
    (Metric::Peak, "peak MiB"),
];

/// Median, smallest and largest of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: &mut [f64]) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Spread { median, min, max })
    }

    fn cell(self) -> String {
        let digits = if self.median.abs() >= 100.0 {
            0
        } else if self.median.abs() >= 10.0 {
            1
        } else {
            2
        };
        if self.min == self.max {
            return format!("{:.digits$}", self.median);
        }
        format!(
            "{:.digits$} ({:.digits$}–{:.digits$})",
            self.median, self.min, self.max
        )
    }
}

/// The rounds of a run, put together; subjects and peers stay in the order in which they came.
pub struct Figures {
    rows: Vec<(String, String)>,
    spreads: BTreeMap<(String, String, Metric), Spread>,
}

impl Figures {
    pub fn of(samples: &[Sample]) -> Self {
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut values: BTreeMap<(String, String, Metric), Vec<f64>> = BTreeMap::new();
        for sample in samples {
            let row = (sample.subject.clone(), sample.peer.clone());
            for (&metric, &value) in &sample.values {
                values
                    .entry((row.0.clone(), row.1.clone(), metric))
                    .or_default()
                    .push(value);
            }
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        let spread = |(key, mut values): (_, Vec<f64>)| Some((key, Spread::of(&mut values)?));
        Figures {
            rows,
            spreads: values.into_iter().filter_map(spread).collect(),
        }
    }

    fn spread(&self, subject: &str, peer: &str, metric: Metric) -> Option<Spread> {
        self.spreads
            .get(&(subject.to_owned(), peer.to_owned(), metric))
            .copied()
    }

    fn median(&self, subject: &str, peer: &str, metric: Metric) -> Option<f64> {
        Some(self.spread(subject, peer, metric)?.median)
    }

    /// What we cost for each microsecond of `peer`.
    fn ratio(&self, subject: &str, peer: &str) -> Option<f64> {
        Some(self.median(subject, US, Metric::Cpu)? / self.median(subject, peer, Metric::Cpu)?)
    }

    /// All that was measured.
    pub fn table(&self) -> String {
        let columns: Vec<_> = COLUMNS
            .into_iter()
            .filter(|(metric, _)| self.spreads.keys().any(|(_, _, known)| known == metric))
            .collect();
        let mut table = String::from("| | peer |");
        for (_, title) in &columns {
            write!(table, " {title} |").expect("a string takes all");
        }
        table.push_str("\n|---|---|");
        table.push_str(&"---:|".repeat(columns.len()));
        table.push('\n');
        for (subject, peer) in &self.rows {
            write!(table, "| {subject} | {peer} |").expect("a string takes all");
            for (metric, _) in &columns {
                let cell = self.spread(subject, peer, *metric).map(Spread::cell);
                write!(table, " {} |", cell.unwrap_or_default()).expect("a string takes all");
            }
            table.push('\n');
        }
        table
    }

    /// What we cost as a share of what each other peer costs; empty where we or they are alone.
    pub fn ratios(&self) -> String {
        let mut table = String::new();
        for (subject, peer) in self.rows.iter().filter(|(_, peer)| peer != US) {
            if let Some(ratio) = self.ratio(subject, peer) {
                writeln!(table, "| {subject} | {peer} | {ratio:.2} × |")
                    .expect("a string takes all");
            }
        }
        if !table.is_empty() {
            table.insert_str(0, "| | against | our CPU |\n|---|---|---:|\n");
        }
        table
    }

    /// The bar, as far as it was measured.
    pub fn bar(&self) -> String {
        let mut table =
            String::from("| the bar | measured | must | | aim | |\n|---|---:|---:|---|---:|---|\n");
        let empty = table.len();
        for rule in RULES {
            let Some(value) = (rule.value)(self) else {
                continue;
            };
            let aim = (rule.aim)(self);
            writeln!(
                table,
                "| {} | {value:.2} {unit} | ≤ {:.2} {unit} | {} | {} | {} |",
                rule.what,
                rule.must,
                verdict(value, rule.must),
                aim.map(|aim| format!("≤ {aim:.2} {}", rule.unit))
                    .unwrap_or_default(),
                aim.map(|aim| verdict(value, aim)).unwrap_or_default(),
                unit = rule.unit,
            )
            .expect("a string takes all");
        }
        if table.len() == empty {
            table.clear();
        }
        table
    }
}

fn verdict(value: f64, limit: f64) -> &'static str {
    if value <= limit { "met" } else { "**not met**" }
}

struct Rule {
    what: &'static str,
    unit: &'static str,
    must: f64,
    value: fn(&Figures) -> Option<f64>,
    aim: fn(&Figures) -> Option<f64>,
}

const RULES: [Rule; 12] = [
    Rule {
        what: "W1, CPU against the floor",
        unit: "×",
        must: 1.0,
        value: |figures| figures.ratio("W1", "floor"),
        aim: |_| Some(0.8),
    },
    Rule {
        what: "W2, CPU against the floor",
        unit: "×",
        must: 1.0,
        value: |figures| figures.ratio("W2", "floor"),
        aim: |_| Some(0.8),
    },
    Rule {
        what: "W3, CPU against plain nginx",
        unit: "×",
        must: 1.15,
        value: |figures| figures.ratio("W3", "nginx"),
        aim: |_| Some(1.0),
    },
    Rule {
        what: "W4, CPU against the floor",
        unit: "×",
        must: 0.8,
        value: |figures| figures.ratio("W4", "floor"),
        aim: |_| Some(0.5),
    },
    Rule {
        what: "W1, CPU against nginx with Lua",
        unit: "×",
        must: 0.45,
        value: |figures| figures.ratio("W1", "nginx-lua"),
        aim: |_| None,
    },
    Rule {
        what: "W1, CPU against Go",
        unit: "×",
        must: 0.28,
        value: |figures| figures.ratio("W1", "go"),
        aim: |_| None,
    },
    Rule {
        what: "W1, CPU against Node",
        unit: "×",
        must: 0.25,
        value: |figures| figures.ratio("W1", "node"),
        aim: |_| None,
    },
    Rule {
        what: "W1, CPU against Spring WebFlux",
        unit: "×",
        must: 0.25,
        value: |figures| figures.ratio("W1", "spring"),
        aim: |_| None,
    },
    Rule {
        what: "W5, added p50",
        unit: "ms",
        must: 1.0,
        value: |figures| figures.median("W5", US, Metric::AddedP50),
        aim: |figures| figures.median("W5", "floor", Metric::AddedP50),
    },
    Rule {
        what: "W1, peak memory",
        unit: "MiB",
        must: 24.0,
        value: |figures| figures.median("W1", US, Metric::Peak),
        aim: |_| Some(10.0),
    },
    Rule {
        what: "memory at rest",
        unit: "MiB",
        must: 16.0,
        value: |figures| figures.median("W1", US, Metric::Rest),
        aim: |_| Some(8.0),
    },
    Rule {
        what: "CPU with 512 clients against 8",
        unit: "×",
        must: 1.25,
        value: |figures| {
            let cost = |subject| figures.median(subject, US, Metric::Cpu);
            Some(cost("512 clients")? / cost("8 clients")?)
        },
        aim: |_| Some(1.15),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(subject: &str, peer: &str, cpu: f64) -> Sample {
        let values = BTreeMap::from([(Metric::Cpu, cpu)]);
        Sample {
            subject: subject.to_owned(),
            peer: peer.to_owned(),
            values,
        }
    }

    #[test]
    fn a_spread_is_median_and_extremes() {
        for (mut values, expected) in [
            (vec![3.0, 1.0, 2.0], Some((2.0, 1.0, 3.0))),
            (vec![4.0, 1.0, 2.0, 3.0], Some((2.5, 1.0, 4.0))),
            (vec![7.0], Some((7.0, 7.0, 7.0))),
            (vec![], None),
        ] {
            let expected = expected.map(|(median, min, max)| Spread { median, min, max });
            assert_eq!(Spread::of(&mut values), expected);
        }
    }

    #[test]
    fn the_tables_show_medians_ratios_and_the_bar() {
        let figures = Figures::of(&[
            sample("W1", "floor", 200.0),
            sample("W1", "anabranch", 150.0),
            sample("W1", "floor", 220.0),
            sample("W1", "anabranch", 160.0),
            sample("W1", "floor", 180.0),
            sample("W1", "anabranch", 170.0),
            sample("W4", "floor", 1000.0),
            sample("W4", "anabranch", 900.0),
        ]);
        assert_eq!(
            figures.table(),
            "| | peer | CPU µs a request |\n|---|---|---:|\n\
             | W1 | floor | 200 (180–220) |\n| W1 | anabranch | 160 (150–170) |\n\
             | W4 | floor | 1000 |\n| W4 | anabranch | 900 |\n"
        );
        assert_eq!(
            figures.ratios(),
            "| | against | our CPU |\n|---|---|---:|\n| W1 | floor | 0.80 × |\n| W4 | floor | 0.90 × |\n"
        );
        assert_eq!(
            figures.bar(),
            "| the bar | measured | must | | aim | |\n|---|---:|---:|---|---:|---|\n\
             | W1, CPU against the floor | 0.80 × | ≤ 1.00 × | met | ≤ 0.80 × | met |\n\
             | W4, CPU against the floor | 0.90 × | ≤ 0.80 × | **not met** | ≤ 0.50 × | **not met** |\n"
        );
    }

    #[test]
    fn nothing_measured_is_no_bar() {
        let figures = Figures::of(&[sample("W1", "go", 700.0)]);
        assert_eq!(
            (figures.ratios(), figures.bar()),
            (String::new(), String::new())
        );
    }
}
