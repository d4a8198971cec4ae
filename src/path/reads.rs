//! What a query reads, for the plan: where it begins, and what is looked into beyond.

use super::tree::{Path, Reading, RootedPath, Segment, Selector, Start, Test};
use super::{Bind, Error, Rooted};
use crate::json::Step;

/// More lists than these are not worth it: then all below is said to be read.
const LISTS: usize = 64;

/// Binds each query of the list that begins with `$`, in the order of the text.
pub(super) fn bind(
    rooted: &mut [RootedPath],
    text: &str,
    binder: &mut dyn Bind,
) -> Result<(), Error> {
    for path in rooted {
        let RootedPath {
            span,
            starts,
            segments,
            reading,
        } = path;
        for start in starts {
            let prefix = prefix(start, segments);
            let mut bound = binder.bind(&Rooted {
                beyond: beyond(&segments[prefix.len()..], *reading),
                prefix: prefix.clone(),
                offset: span.start,
                length: span.len(),
                text: &text[span.clone()],
            })?;
            bound.consumed = bound.consumed.min(prefix.len());
            start.bound = Some(bound);
        }
    }
    Ok(())
}

/// The prefix of a query and the lists of steps beyond it, for each of its starts.
pub(super) fn of(path: &RootedPath) -> Vec<(Vec<Step>, Vec<Vec<Step>>)> {
    let reads = path.starts.iter().map(|start| {
        let prefix = prefix(start, &path.segments);
        let beyond = beyond(&path.segments[prefix.len()..], path.reading);
        (prefix, beyond)
    });
    reads.collect()
}

/// The names and indexes that a query begins with. A step is a segment.
fn prefix(start: &Start, segments: &[Segment]) -> Vec<Step> {
    let named = start.name.iter().map(|name| Step::Name(name.clone()));
    let taken = usize::from(start.name.is_some());
    let singles = segments[taken..]
        .iter()
        .map_while(|segment| match segment.single()? {
            Selector::Name(name) => Some(Step::Name(name.clone())),
            Selector::Index(index) => Some(Step::Index(usize::try_from(*index).ok()?)),
            _ => None,
        });
    named.chain(singles).collect()
}

fn beyond(segments: &[Segment], reading: Reading) -> Vec<Vec<Step>> {
    let mut lists = lists(segments, reading);
    lists.retain(|steps| !steps.is_empty());
    lists
}

/// The lists of steps along which `segments` read, relative to where they begin.
fn lists(segments: &[Segment], reading: Reading) -> Vec<Vec<Step>> {
    let mut along: Vec<Vec<Step>> = vec![Vec::new()];
    let mut aside: Vec<Vec<Step>> = Vec::new();
    for segment in segments {
        if segment.descends {
            return joined(extended(&along, &[vec![Step::Deep]]), aside);
        }
        let mut steps = Vec::new();
        for selector in &segment.selectors {
            let step = step(selector);
            if !steps.contains(&vec![step.clone()]) {
                steps.push(vec![step]);
            }
            if let Selector::Filter(test) = selector {
                aside.extend(extended(&along, &filter_lists(test)));
            }
        }
        along = extended(&along, &steps);
        if along.len() + aside.len() > LISTS {
            return vec![vec![Step::Deep]];
        }
    }
    let last = match reading {
        Reading::Surface => return joined(along, aside),
        Reading::Size => Step::Every,
        Reading::Whole => Step::Deep,
    };
    joined(extended(&along, &[vec![last]]), aside)
}

fn joined(mut one: Vec<Vec<Step>>, other: Vec<Vec<Step>>) -> Vec<Vec<Step>> {
    one.extend(other);
    one
}

/// Each list with each tail.
fn extended(lists: &[Vec<Step>], tails: &[Vec<Step>]) -> Vec<Vec<Step>> {
    let with_tails = |list: &Vec<Step>| {
        let list = list.clone();
        let with = move |tail: &Vec<Step>| list.iter().chain(tail).cloned().collect();
        tails.iter().map(with).collect::<Vec<_>>()
    };
    lists.iter().flat_map(with_tails).collect()
}

fn step(selector: &Selector) -> Step {
    match selector {
        Selector::Name(name) => Step::Name(name.clone()),
        Selector::Index(index) => usize::try_from(*index).map_or(Step::Every, Step::Index),
        Selector::Every | Selector::Slice(_) | Selector::Filter(_) => Step::Every,
    }
}

/// What the queries of a filter read of each of the values that it is asked of.
fn filter_lists(test: &Test) -> Vec<Vec<Step>> {
    let mut all = Vec::new();
    test.each_path(&mut |path| {
        if let Path::Relative(segments, reading) = path {
            all.extend(extended(&[vec![Step::Every]], &lists(segments, *reading)));
        }
    });
    all
}
