//! Peers side by side: all up at once, and loaded in turns that are short enough for the machine to stay the
//! same meanwhile. What one costs is compared with the first of them round by round.

use std::fmt::Write;
use std::path::Path;

use anabranch_bench::workload::Workload;

use crate::Error;
use crate::measure::Load;
use crate::peer::Place;
use crate::process::Process;

/// A peer that waits for its turn.
struct Side<'p> {
    peer: &'p str,
    process: Process,
    port: u16,
    /// Microseconds of CPU for a request, by round.
    costs: Vec<f64>,
}

/// What each of `peers` costs in so many rounds of `load`, as a table. It is an error if one answer is not right.
pub fn measure(
    place: &Place,
    workload: Workload,
    peers: &[&str],
    rounds: usize,
    load: &Load,
) -> Result<String, Error> {
    let routes = place.routes();
    let mut sides = Vec::new();
    for (number, peer) in peers.iter().enumerate() {
        sides.push(Side::start(place, peer, number, &routes, load)?);
    }
    for round in 0..rounds {
        // Everybody is the next one's neighbour, and none is always the first.
        for turn in 0..sides.len() {
            let number = (round + turn) % sides.len();
            sides[number].take_turn(place, load)?;
        }
    }
    Ok(table(workload, &sides))
}

impl<'p> Side<'p> {
    /// A peer and its admin listener take two ports.
    fn start(
        place: &Place,
        peer: &'p str,
        number: usize,
        routes: &Path,
        load: &Load,
    ) -> Result<Self, Error> {
        let port = place.port + 2 * number as u16;
        let process = place.start_on(port, peer, routes)?;
        load.warm_up(place, port, peer)?;
        Ok(Side {
            peer,
            process,
            port,
            costs: Vec::new(),
        })
    }

    fn take_turn(&mut self, place: &Place, load: &Load) -> Result<(), Error> {
        let before = self.process.scheduled_seconds()?;
        let outcome = load.run(place, self.port, None)?;
        let spent = self.process.scheduled_seconds()? - before;
        self.costs.push(spent * 1e6 / outcome.answers as f64);
        Ok(())
    }
}

/// Medians, with the quartiles in brackets.
fn table(workload: Workload, sides: &[Side<'_>]) -> String {
    let mut table = String::new();
    let Some(first) = sides.first() else {
        return table;
    };
    writeln!(
        table,
        "| {workload:?} | CPU µs a request | of {} |",
        first.peer
    )
    .expect("a string takes all");
    table.push_str("|---|---:|---:|\n");
    for side in sides {
        let ratios = side.costs.iter().zip(&first.costs);
        let ratios: Vec<f64> = ratios.map(|(cost, first)| cost / first).collect();
        let ([c1, c2, c3], [r1, r2, r3]) = (quartiles(&side.costs), quartiles(&ratios));
        writeln!(
            table,
            "| {} | {c2:.1} ({c1:.1}–{c3:.1}) | {r2:.2} ({r1:.2}–{r3:.2}) |",
            side.peer
        )
        .expect("a string takes all");
    }
    table
}

/// The values at a quarter, at half and at three quarters of the way, by rank; of none zeros.
fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [1, 2, 3].map(|quarter| {
        values
            .get((quarter * last + 2) / 4)
            .copied()
            .unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_values_by_rank() {
        assert_eq!(quartiles(&[5.0, 1.0, 4.0, 2.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&[7.0]), [7.0; 3]);
        assert_eq!(quartiles(&[]), [0.0; 3]);
        let hundred: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(quartiles(&hundred), [25.0, 50.0, 75.0]);
    }
}
