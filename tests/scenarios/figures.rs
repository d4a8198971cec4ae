//! What `/metrics` says, to be asked by name and labels.

use std::collections::BTreeMap;

/// All series of a moment.
pub struct Figures(Vec<Series>);

pub struct Series {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Figures {
    /// Reads the Prometheus text format, as far as we write it: no label holds a quote or a comma.
    pub fn read(text: &str) -> Figures {
        let lines = text.lines().filter(|line| !line.is_empty());
        let lines = lines.filter(|line| !line.starts_with('#'));
        Figures(lines.map(series).collect())
    }

    pub fn named(&self, name: &str) -> impl Iterator<Item = &Series> {
        self.0.iter().filter(move |series| series.name == name)
    }

    /// The sum of all series of this name that have these labels; none is 0.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &Series| labels.iter().all(|(name, value)| series.is(name, value));
        let found = self.named(name).filter(|series| has(series));
        found.map(|series| series.value).sum()
    }
}

impl Series {
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.label(name) == value
    }
}

fn series(line: &str) -> Series {
    let (key, value) = line.rsplit_once(' ').expect("a value behind its name");
    let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
    let labels = labels.trim_end_matches('}').split(',');
    let labels = labels.filter_map(|label| {
        let (name, value) = label.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    });
    Series {
        name: name.to_owned(),
        labels: labels.collect(),
        value: value.parse().expect("a number"),
    }
}

#[test]
fn series_are_found_by_name_and_labels() {
    let text = "# HELP a b\na{x=\"1\",y=\"2\"} 3\na{x=\"1\"} 4\n\nb 1.5\n";
    let figures = Figures::read(text);
    assert_eq!(figures.sum("a", &[("x", "1")]), 7.0);
    assert_eq!(figures.sum("a", &[("y", "2")]), 3.0);
    assert_eq!(figures.sum("b", &[]), 1.5);
    assert_eq!(figures.sum("c", &[]), 0.0);
}
