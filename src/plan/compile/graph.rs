//! Who waits for whom: needs from reads and `depends_on`, cycles printed as a path.

use crate::config::document;
use crate::diagnostic::{Diagnostic, Span};
use crate::plan::compile::names::{Names, Read, Reader, list};
use crate::plan::{CallId, Role};

/// For each call the calls it waits for, in the order of the file, without duplicates.
pub struct Graph {
    pub needs: Vec<Vec<CallId>>,
}

/// One reason to wait.
struct Edge {
    from: CallId,
    to: CallId,
    span: Span,
}

/// Makes the graph.
pub fn build(calls: &[document::Call], names: &mut Names) -> Graph {
    let mut edges: Vec<Edge> = names.reads.iter().filter_map(edge).collect();
    for (place, call) in calls.iter().enumerate() {
        edges.extend(depends_on(CallId(place), call, names));
    }
    let mut needs = vec![Vec::new(); calls.len()];
    for edge in &edges {
        needs[edge.from.0].push(edge.to);
    }
    for list in &mut needs {
        list.sort();
        list.dedup();
    }
    let mut ways = needs.clone();
    for (place, call) in calls.iter().enumerate() {
        for edge in chain(CallId(place), call, names) {
            ways[edge.from.0].push(edge.to);
            edges.push(edge);
        }
    }
    let found = cycles(calls, &ways, &edges);
    let is_acyclic = found.is_empty();
    names.diagnostics.extend(found);
    if !is_acyclic {
        // What waits for itself has no order; the table is refused, so nothing runs on this.
        needs.iter_mut().for_each(Vec::clear);
    }
    Graph { needs }
}

fn edge(read: &Read) -> Option<Edge> {
    let (Reader::Call(from) | Reader::Take(from)) = read.reader else {
        return None;
    };
    Some(Edge {
        from,
        to: read.call,
        span: read.span,
    })
}

/// The calls that a call asks when it fails. What a chain may not name is said elsewhere.
fn chain(from: CallId, call: &document::Call, names: &Names) -> Vec<Edge> {
    let edge = |name: &document::Spanned<String>| {
        let to = names.call_named(&name.value).filter(|to| *to != from)?;
        Some(Edge {
            from,
            to,
            span: name.span,
        })
    };
    match names.role(from) {
        Role::Normal => call.fallback_calls().filter_map(edge).collect(),
        Role::Fallback | Role::Detached | Role::Pass => Vec::new(),
    }
}

fn depends_on(from: CallId, call: &document::Call, names: &mut Names) -> Vec<Edge> {
    let mut edges = Vec::new();
    for entry in call.depends_on.iter().flat_map(|entries| &entries.value) {
        let name = entry.value.as_str();
        let Some(to) = names.call_named(name) else {
            let known: Vec<&str> = names.call_names().collect();
            let help = match crate::diagnostic::nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the calls of this route are {}", list(known.into_iter())),
            };
            let unknown = Diagnostic::error(
                "R0201",
                entry.span,
                format!("unknown call `{}`", entry.shown()),
            );
            names.diagnostics.push(unknown.help(help));
            continue;
        };
        let message = match names.role(to) {
            _ if to == from => format!("`{name}` waits for itself"),
            Role::Normal => {
                edges.push(Edge {
                    from,
                    to,
                    span: entry.span,
                });
                continue;
            }
            Role::Detached => format!("`{name}` is detached: it is sent after the answer"),
            Role::Fallback => format!("`{name}` is named in a `fallback`: it starts only then"),
            Role::Pass => format!("`{name}` is passed: it starts when all other calls are settled"),
        };
        let refused = Diagnostic::error("R0205", entry.span, message);
        names
            .diagnostics
            .push(refused.help("take it out of `depends_on`"));
    }
    edges
}

/// One finding for each cycle that shares no call with one found before.
fn cycles(calls: &[document::Call], ways: &[Vec<CallId>], edges: &[Edge]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut in_cycle = vec![false; calls.len()];
    for place in 0..calls.len() {
        if in_cycle[place] {
            continue;
        }
        if let Some(cycle) = shortest_cycle(CallId(place), ways) {
            for call in &cycle {
                in_cycle[call.0] = true;
            }
            found.push(describe(calls, &cycle, edges));
        }
    }
    found
}

/// The shortest way from a call back to itself: breadth first over what it waits for.
fn shortest_cycle(start: CallId, ways: &[Vec<CallId>]) -> Option<Vec<CallId>> {
    let mut came_from: Vec<Option<CallId>> = vec![None; ways.len()];
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(call) = queue.pop_front() {
        for &next in &ways[call.0] {
            if next == start {
                let way = std::iter::successors(Some(call), |call| came_from[call.0]);
                let mut cycle: Vec<CallId> = way.collect();
                cycle.reverse();
                return Some(cycle);
            }
            if came_from[next.0].is_none() {
                came_from[next.0] = Some(call);
                queue.push_back(next);
            }
        }
    }
    None
}

fn describe(calls: &[document::Call], cycle: &[CallId], edges: &[Edge]) -> Diagnostic {
    let name = |call: &CallId| calls[call.0].name.value.as_str();
    let mut path: Vec<&str> = cycle.iter().map(name).collect();
    path.push(name(&cycle[0]));
    let next = |place: usize| cycle[(place + 1) % cycle.len()];
    let span = |place: usize| {
        let edge = edges
            .iter()
            .find(|edge| edge.from == cycle[place] && edge.to == next(place));
        edge.map_or(calls[cycle[place].0].name.span, |edge| edge.span)
    };
    let says = |place: usize| {
        format!(
            "`{}` waits for `{}` here",
            name(&cycle[place]),
            name(&next(place))
        )
    };
    let message = format!("calls form a cycle: {}", path.join(" -> "));
    let mut diagnostic = Diagnostic::error("R0203", span(0), message).label(says(0));
    for place in 1..cycle.len() {
        diagnostic = diagnostic.also(span(place), says(place));
    }
    diagnostic.help("drop one of these, or read the value from a call that does not wait")
}
