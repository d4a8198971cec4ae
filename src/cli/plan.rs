//! `plan ROUTE`: the graph of a route as a timeline.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{Exit, Report, output, table};
use crate::diagnostic::nearest;
use crate::plan::matcher::Match;
use crate::plan::settings::Service;
use crate::plan::timeline::{self, Bar, Timeline};
use crate::plan::{Call, CallId, FallbackKind, ForEach, Role, Route, ServiceId, Table, Ttl};
use crate::policy::hedge::After;
use crate::policy::{breaker, bulkhead};
use crate::telemetry::time;

/// How many characters the timeline is wide.
const WIDTH: u128 = 32;
/// How many characters a line of text has at most.
const LINE: usize = 100;

/// Show what a route's calls wait for, when each starts, and the worst case
#[derive(Args)]
pub(super) struct Arguments {
    /// A route's name, or "METHOD /path"
    route: String,
    /// Files and folders [default: $ANABRANCH_CONFIG, else routes/]
    path: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = Report::Text)]
    format: Report,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let table = match table(&arguments.path) {
        Ok(table) => table,
        Err(exit) => return exit,
    };
    let Some(route) = find(&table, &arguments.route) else {
        output::complain(&unknown(&table, &arguments.route));
        return Exit::CouldNot;
    };
    let plan = timeline::of(route, &table.services);
    match arguments.format {
        Report::Text => output::data(&text(&table, route, &plan)),
        Report::Json => output::data(&format!("{:#}\n", value(&table, route, &plan))),
    }
    Exit::Fine
}

/// By name, by method and pattern as written, or by method and a path that a client could send.
fn find<'t>(table: &'t Table, wanted: &str) -> Option<&'t Route> {
    let named = table.routes.iter().find(|route| route.name == wanted);
    if let Some(route) = named {
        return Some(route);
    }
    let (method, path) = wanted.trim().split_once(' ')?;
    let method: http::Method = method.to_ascii_uppercase().parse().ok()?;
    let path = path.trim();
    let written = table
        .routes
        .iter()
        .find(|route| route.method == method && route.pattern == path);
    let route = match written {
        Some(route) => route,
        None => match table.matcher.find(&method, "", path) {
            Match::Route { index, .. } => &table.routes[index],
            _ => return None,
        },
    };
    Some(route)
}

fn unknown(table: &Table, wanted: &str) -> String {
    let names = table.routes.iter().map(|route| route.name.as_str());
    match nearest(wanted, names) {
        Some(near) => format!("unknown route `{wanted}`; did you mean `{near}`?"),
        None => format!(
            "unknown route `{wanted}`; there are {}",
            listed(table).unwrap_or_else(|| "none".into())
        ),
    }
}

fn listed(table: &Table) -> Option<String> {
    let names: Vec<String> = table
        .routes
        .iter()
        .take(20)
        .map(|route| format!("`{}`", route.name))
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn text(table: &Table, route: &Route, plan: &Timeline) -> String {
    let mut text = format!(
        "{} {}   {}   {}\n\n",
        route.method, route.pattern, route.name, route.place
    );
    let call_time = timeline::call_time(route.timeout);
    let shown = plan.worst.max(call_time);
    let name_width = widest(route);
    for bar in &plan.bars {
        let call = &route.calls[bar.call.0];
        let mark = if plan.path.contains(&bar.call) {
            " *"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "  {:name_width$}  {:>8}  |{}|  {:>8}{mark}",
            call.name,
            at(bar.start),
            drawn(bar, shown),
            time::readable(bar.length),
        );
    }
    if !plan.bars.is_empty() {
        text.push('\n');
        for bar in &plan.bars {
            let call = &route.calls[bar.call.0];
            let noted = wrapped(&notes(table, route, call), LINE - name_width - 4);
            let _ = writeln!(
                text,
                "  {:name_width$}  {}",
                call.name,
                noted.join(&format!("\n  {:name_width$}  ", "")),
            );
        }
        let _ = writeln!(text, "\n{}", services(table, route));
    }
    let _ = writeln!(text, "worst case  {}", worst(route, plan, call_time));
    let _ = writeln!(
        text,
        "requests    at most {} for one client request",
        plan.requests
    );
    let _ = writeln!(text, "priority    {}", route.priority.name());
    text
}

/// Parts put together to lines that are no wider than that, unless a part alone is.
fn wrapped(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 2 + part.chars().count() < width => {
                line.push_str("; ");
                line.push_str(part);
            }
            Some(line) => {
                line.push(';');
                lines.push(part.clone());
            }
            None => lines.push(part.clone()),
        }
    }
    lines
}

/// What bounds the load of each service that the route asks.
fn services(table: &Table, route: &Route) -> String {
    let head = ["service", "calls", "long run", "breaker", "bulkhead"];
    let mut rows: Vec<[String; 5]> = vec![head.map(str::to_owned)];
    for (id, calls) in loads(route) {
        let service = &table.services[id.0];
        rows.push([
            service.name.clone(),
            calls.to_string(),
            long_run(service, calls),
            service.breaker.map_or("off".into(), breaker),
            service.bulkhead.map_or("off".into(), bulkhead),
        ]);
    }
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let [name, calls, long_run, breaker] = [width(0), width(1), width(2), width(3)];
    let mut text = String::new();
    for [service, asked, load, shut, places] in &rows {
        let _ = writeln!(
            text,
            "  {service:name$}  {asked:>calls$}  {load:long_run$}  {shut:breaker$}  {places}"
        );
    }
    text.push_str("  long run: what n client requests within t seconds come to, retries and hedges included\n");
    text
}

/// The services that a route asks, each with its calls for one client request at most.
fn loads(route: &Route) -> Vec<(ServiceId, u64)> {
    let mut loads = BTreeMap::<ServiceId, u64>::new();
    for (place, call) in route.calls.iter().enumerate() {
        let calls = loads.entry(call.service).or_default();
        *calls = calls.saturating_add(timeline::asked(route, CallId(place)));
    }
    loads.into_iter().collect()
}

/// (1 + ratio) × calls + per_second × t (`resilience.md` §3).
fn long_run(service: &Service, calls: u64) -> String {
    let share = 10_000 + u64::from(service.budget.ratio);
    let by_requests = format!("{} n", ten_thousandths(share.saturating_mul(calls)));
    match service.budget.per_second {
        0 => by_requests,
        per_second => format!("{by_requests} + {per_second} t"),
    }
}

/// A number without zeros behind it: 11000 is `1.1`.
fn ten_thousandths(number: u64) -> String {
    let (whole, part) = (number / 10_000, number % 10_000);
    let digits = format!("{whole}.{part:04}");
    digits
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

fn breaker(settings: breaker::Settings) -> String {
    let breaker::Settings {
        consecutive,
        window,
        success_rate,
        min_requests,
        open: (shortest, longest),
    } = settings;
    format!(
        "{consecutive} in a row, <{}% of {min_requests} in {}, {}..{}",
        percent(success_rate),
        time::readable(window),
        time::readable(shortest),
        time::readable(longest),
    )
}

fn bulkhead(settings: bulkhead::Settings) -> String {
    let bulkhead::Settings {
        max,
        queue,
        max_wait,
    } = settings;
    match queue {
        0 => max.to_string(),
        _ => format!("{max}, {queue} wait {}", time::readable(max_wait)),
    }
}

/// Hundredths of a percent: 9990 is `99.9`.
fn percent(hundredths: u32) -> String {
    ten_thousandths(u64::from(hundredths) * 100)
}

fn widest(route: &Route) -> usize {
    let widths = route.calls.iter().map(|call| call.name.chars().count());
    widths.max().unwrap_or(0)
}

fn at(start: Duration) -> String {
    match start.is_zero() {
        true => "at once".into(),
        false => time::readable(start),
    }
}

fn drawn(bar: &Bar, whole: Duration) -> String {
    let scale = |moment: Duration| {
        let share = moment.as_micros() * WIDTH / whole.as_micros().max(1);
        share.min(WIDTH) as usize
    };
    let start = scale(bar.start).min(WIDTH as usize - 1);
    let end = scale(bar.start.saturating_add(bar.length)).max(start + 1);
    let mut drawn = " ".repeat(start);
    drawn.push_str(&"=".repeat(end - start));
    drawn.push_str(&".".repeat(WIDTH as usize - end));
    drawn
}

fn worst(route: &Route, plan: &Timeline, call_time: Duration) -> String {
    let names: Vec<&str> = plan
        .path
        .iter()
        .map(|call| route.calls[call.0].name.as_str())
        .collect();
    let by = match names.is_empty() {
        true => String::new(),
        false => format!(": {}", names.join(" -> ")),
    };
    let worst = time::readable(plan.worst);
    let timeout = time::readable(route.timeout);
    match plan.worst > call_time {
        true => format!(
            "{worst}, cut at {} by the timeout of {timeout}{by}",
            time::readable(call_time)
        ),
        false => format!("{worst} of a timeout of {timeout}{by}"),
    }
}

/// What else is to be known of a call.
fn notes(table: &Table, route: &Route, call: &Call) -> Vec<String> {
    let name = |call: &crate::plan::CallId| route.calls[call.0].name.as_str();
    let mut notes = vec![format!(
        "{} {}",
        call.method, table.services[call.service.0].name
    )];
    match call.role {
        Role::Normal => {}
        Role::Fallback => notes.push(format!("only when {} fails", owners(route, call))),
        Role::Detached => notes.push("after the answer".into()),
        Role::Pass => notes.push("passed through when all others are settled".into()),
    }
    if !call.needs.is_empty() {
        let needs: Vec<&str> = call.needs.iter().map(name).collect();
        notes.push(format!("waits for {}", needs.join(", ")));
    }
    if call.when.is_some() {
        notes.push("may be skipped".into());
    }
    if let Some(for_each) = &call.for_each {
        notes.push(looped(for_each));
    }
    notes.push(format!(
        "{} of {}",
        attempts(call.retry.attempts),
        time::readable(call.attempt_timeout)
    ));
    match call.hedge {
        Some(After::Fixed(after)) => {
            notes.push(format!("asked again after {}", time::readable(after)));
        }
        Some(After::Percentile(share)) => {
            notes.push(format!("asked again at its p{}", percent(share)));
        }
        None => {}
    }
    match call.cache.map(|cache| cache.ttl) {
        Some(Ttl::For(time)) => notes.push(format!("kept for {}", time::readable(time))),
        Some(Ttl::FromHeaders) => notes.push("kept for as long as its headers say".into()),
        None => {}
    }
    let fallbacks = fallbacks(route, call);
    if !fallbacks.is_empty() {
        notes.push(format!("else {}", fallbacks.join(", else ")));
    } else if call.optional {
        notes.push("optional".into());
    }
    notes
}

fn looped(for_each: &ForEach) -> String {
    let ForEach {
        max_items,
        concurrency,
        ..
    } = for_each;
    match (&for_each.batch, for_each.requests()) {
        (None, _) => format!("up to {max_items} times, {concurrency} at once"),
        (Some(_), 1) => format!("one request for up to {max_items} elements"),
        (Some(batch), requests) => format!(
            "up to {requests} requests of {} keys for {max_items} elements, {concurrency} at once",
            batch.size
        ),
    }
}

/// The calls whose chains may come to `call`.
fn owners(route: &Route, call: &Call) -> String {
    let names: Vec<&str> = route
        .calls
        .iter()
        .filter(|owner| {
            let mut called = timeline::fallback_calls(owner);
            called.any(|called| std::ptr::eq(&route.calls[called.0], call))
        })
        .map(|owner| owner.name.as_str())
        .collect();
    names.join(" or ")
}

fn attempts(count: u32) -> String {
    match count {
        1 => "1 attempt".into(),
        _ => format!("{count} attempts"),
    }
}

fn fallbacks(route: &Route, call: &Call) -> Vec<String> {
    call.fallback
        .iter()
        .map(|fallback| match &fallback.kind {
            FallbackKind::Stale(age) => {
                format!("the last answer, up to {} old", time::readable(*age))
            }
            FallbackKind::Value(_) => "a value".into(),
            FallbackKind::Call(called) => route.calls[called.0].name.clone(),
        })
        .collect()
}

fn value(table: &Table, route: &Route, plan: &Timeline) -> Value {
    let name = |call: &crate::plan::CallId| route.calls[call.0].name.as_str();
    let calls: Vec<Value> = plan
        .bars
        .iter()
        .map(|bar| {
            let call = &route.calls[bar.call.0];
            json!({
                "name": call.name,
                "service": table.services[call.service.0].name,
                "method": call.method.as_str(),
                "role": role(call),
                "needs": call.needs.iter().map(name).collect::<Vec<_>>(),
                "level": bar.level,
                "start_ms": time::milliseconds(bar.start),
                "worst_ms": time::milliseconds(bar.length),
                "attempts": call.retry.attempts,
                "attempt_timeout_ms": time::milliseconds(call.attempt_timeout),
                "timeout_ms": call.timeout.map(time::milliseconds),
                "hedge": hedge_value(call.hedge),
                "max_items": call.for_each.as_ref().map(|for_each| for_each.max_items),
                "batch_size": call.batch().map(|batch| batch.size),
                "optional": call.optional,
                "fallback": fallbacks(route, call),
            })
        })
        .collect();
    json!({
        "route": route.name,
        "method": route.method.as_str(),
        "path": route.pattern,
        "host": route.host,
        "place": route.place,
        "priority": route.priority.name(),
        "timeout_ms": time::milliseconds(route.timeout),
        "worst_ms": time::milliseconds(plan.worst),
        "worst_path": plan.path.iter().map(name).collect::<Vec<_>>(),
        "requests": plan.requests,
        "depth": plan.depth,
        "calls": calls,
        "services": Value::from_iter(loads(route).into_iter().map(|(id, calls)| {
            service_value(&table.services[id.0], calls)
        })),
    })
}

fn hedge_value(hedge: Option<After>) -> Value {
    match hedge {
        Some(After::Fixed(after)) => json!({ "after_ms": time::milliseconds(after) }),
        Some(After::Percentile(share)) => json!({ "after_percentile": of_hundredths(share) }),
        None => Value::Null,
    }
}

fn service_value(service: &Service, calls: u64) -> Value {
    let breaker = service.breaker.map(|breaker| {
        json!({
            "consecutive": breaker.consecutive,
            "window_ms": time::milliseconds(breaker.window),
            "success_rate": of_hundredths(breaker.success_rate),
            "min_requests": breaker.min_requests,
            "open_ms": [time::milliseconds(breaker.open.0), time::milliseconds(breaker.open.1)],
        })
    });
    let bulkhead = service.bulkhead.map(|bulkhead| {
        json!({
            "max": bulkhead.max,
            "queue": bulkhead.queue,
            "max_wait_ms": time::milliseconds(bulkhead.max_wait),
        })
    });
    let ratio = of_hundredths(service.budget.ratio);
    json!({
        "name": service.name,
        "calls": calls,
        "long_run": {
            "per_request": (100.0 + ratio) * calls as f64 / 100.0,
            "per_second": service.budget.per_second,
        },
        "budget": { "ratio": ratio, "per_second": service.budget.per_second },
        "breaker": breaker,
        "bulkhead": bulkhead,
        "wait_ms": time::milliseconds(timeline::wait(service)),
    })
}

/// Hundredths of a percent, in percent.
fn of_hundredths(share: u32) -> f64 {
    f64::from(share) / 100.0
}

fn role(call: &Call) -> &'static str {
    match call.role {
        Role::Normal => "normal",
        Role::Fallback => "fallback",
        Role::Detached => "detached",
        Role::Pass => "pass",
    }
}
