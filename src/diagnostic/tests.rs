use super::render::{Colour, Format, render};
use super::*;

const HOME: &str = "route: GET /\ncalls:\n  üser: { get: /, timout: 1s }\n";

fn files() -> Files {
    let mut files = Files::default();
    files.add("routes/home.yaml".into(), "home".into(), HOME.into());
    files.add("b, c.yaml".into(), "b".into(), "a: 1\r\nb: 2\r\n".into());
    files
}

fn span(file: u32, wanted: &str, files: &Files) -> Span {
    let start = files.get(FileId(file)).text.find(wanted).unwrap();
    Span {
        file: FileId(file),
        start: start as u32,
        end: (start + wanted.len()) as u32,
    }
}

fn findings(files: &Files) -> Vec<Diagnostic> {
    vec![
        Diagnostic::error("R0107", span(0, "timout", files), "unknown key `timout`")
            .also(span(0, "üser", files), "in this call")
            .help("did you mean `timeout`?"),
        Diagnostic::warning("R0114", span(1, "b: 2", files), "100% twice")
            .label("again here")
            .also(span(0, "route", files), "first here"),
    ]
}

#[test]
fn places_are_counted_in_lines_and_characters() {
    let files = files();
    #[track_caller]
    fn check(files: &Files, file: u32, offset: usize, expected: (usize, usize)) {
        let found = files.position(FileId(file), offset as u32);
        assert_eq!((found.line, found.column), expected);
    }
    check(&files, 0, 0, (1, 1));
    check(&files, 0, HOME.find("calls").unwrap(), (2, 1));
    check(&files, 0, HOME.find("get").unwrap(), (3, 11));
    check(&files, 0, HOME.find('ü').unwrap() + 1, (3, 3));
    check(&files, 0, HOME.len(), (4, 1));
    check(&files, 0, 9999, (4, 1));
    check(&files, 1, 6, (2, 1));
    assert_eq!(files.text(span(0, "timout", &files)), "timout");
}

#[test]
fn findings_are_arranged_by_file_place_and_code() {
    let files = files();
    let at = |file, start| Span {
        file: FileId(file),
        start,
        end: start + 1,
    };
    let unsorted = vec![
        Diagnostic::error("R0102", at(0, 5), "x"),
        Diagnostic::error("R0101", at(0, 5), "x"),
        Diagnostic::error("R0103", at(1, 9), "x"),
        Diagnostic::error("R0101", at(0, 2), "x"),
        Diagnostic::error("R0102", at(0, 5), "x"),
    ];
    let arranged: Vec<(u32, u32, &str)> = arrange(unsorted, &files)
        .iter()
        .map(|found| (found.span.file.0, found.span.start, found.code))
        .collect();
    let expected = [
        (1, 9, "R0103"),
        (0, 2, "R0101"),
        (0, 5, "R0101"),
        (0, 5, "R0102"),
    ];
    assert_eq!(arranged, expected);
}

#[test]
fn what_is_near_is_suggested() {
    let names = ["timeout", "get", "depends_on", "pricing", "a", "b"];
    #[track_caller]
    fn check(names: &[&str], written: &str, expected: Option<&str>) {
        assert_eq!(nearest(written, names.iter().copied()), expected);
    }
    check(&names, "timout", Some("timeout"));
    check(&names, "TimeOut", Some("timeout"));
    check(&names, "depends-on", Some("depends_on"));
    check(&names, "gte", Some("get"));
    check(&names, "pricng", Some("pricing"));
    check(&names, "c", None);
    check(&names, "post", None);
    check(&names, "inventory", None);
}

#[test]
fn the_text_form_looks_like_rustc() {
    let files = files();
    let expected = "\
error[R0107]: unknown key `timout`
 --> routes/home.yaml:3:19
  |
3 |   üser: { get: /, timout: 1s }
  |   ----            ^^^^^^
  |   |
  |   in this call
  |
  = help: did you mean `timeout`?

warning[R0114]: 100% twice
 --> b, c.yaml:2:1
  |
2 | b: 2
  | ^^^^ again here
  |
 ::: routes/home.yaml:1:1
  |
1 | route: GET /
  | ----- first here

";
    let found = render(Format::Text, &files, &findings(&files), Colour::Plain);
    assert_eq!(found, expected);
    let coloured = render(Format::Text, &files, &findings(&files), Colour::Ansi);
    assert!(coloured.contains('\u{1b}') && !found.contains('\u{1b}'));
}

#[test]
fn the_text_form_takes_any_span() {
    let long = format!("{}\n{}", "é".repeat(20_000), "x".repeat(100));
    let mut files = Files::default();
    files.add("a".into(), "a".into(), long.clone());
    files.add("empty".into(), "empty".into(), String::new());
    for (file, start, end) in [
        (0, 0, long.len()),
        (0, 20_001, 20_003),
        (0, long.len(), long.len()),
        (0, long.len() + 5, long.len() + 9),
        (0, 10, 3),
        (1, 0, 0),
        (1, 3, 9),
    ] {
        let span = Span {
            file: FileId(file),
            start: start as u32,
            end: end as u32,
        };
        let findings = [Diagnostic::error("R0101", span, "x")];
        let text = render(Format::Text, &files, &findings, Colour::Plain);
        assert!(text.starts_with("error[R0101]: x") && text.len() < 40_000);
    }
}

#[test]
fn the_short_form_is_one_line_each() {
    let files = files();
    assert_eq!(
        render(Format::Short, &files, &findings(&files), Colour::Plain),
        "routes/home.yaml:3:19: error[R0107]: unknown key `timout` (did you mean `timeout`?)\n\
         b, c.yaml:2:1: warning[R0114]: 100% twice\n"
    );
}

#[test]
fn the_json_form_has_exactly_its_keys() {
    let files = files();
    let text = render(Format::Json, &files, &findings(&files), Colour::Plain);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({ "diagnostics": [
        { "code": "R0107", "severity": "error", "file": "routes/home.yaml", "line": 3,
          "column": 19, "end_line": 3, "end_column": 25, "message": "unknown key `timout`",
          "help": "did you mean `timeout`?" },
        { "code": "R0114", "severity": "warning", "file": "b, c.yaml", "line": 2, "column": 1,
          "end_line": 2, "end_column": 5, "message": "100% twice", "help": null },
    ] });
    assert_eq!(value, expected);
    let none = render(Format::Json, &files, &[], Colour::Plain);
    let none: serde_json::Value = serde_json::from_str(&none).unwrap();
    assert_eq!(none, serde_json::json!({ "diagnostics": [] }));
}

#[test]
fn the_github_form_escapes_what_would_end_it() {
    let files = files();
    assert_eq!(
        render(Format::Github, &files, &findings(&files), Colour::Plain),
        "::error file=routes/home.yaml,line=3,col=19,endLine=3,endColumn=25,title=R0107::\
         unknown key `timout`%0Ahelp: did you mean `timeout`?\n\
         ::warning file=b%2C c.yaml,line=2,col=1,endLine=2,endColumn=5,title=R0114::\
         100%25 twice\n"
    );
}

#[test]
fn the_sarif_form_lists_its_rules() {
    let files = files();
    let text = render(Format::Sarif, &files, &findings(&files), Colour::Plain);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["version"], "2.1.0");
    let run = &value["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for result in results {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    assert_eq!(results[0]["level"], "error");
    let place = &results[1]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "b%2C%20c.yaml");
    assert_eq!(place["region"]["startLine"], 2);
    let related = &results[1]["relatedLocations"][0];
    assert_eq!(related["message"]["text"], "first here");
}

#[test]
fn every_code_has_its_page() {
    let mut before = "";
    for code in codes::ALL {
        assert!(before < code.code, "{} is in order", code.code);
        before = code.code;
        let title = format!("# {}: {}\n", code.code, code.title);
        assert!(code.page.starts_with(&title), "{}", code.page);
    }
    assert!(codes::page("r0101").is_some() && codes::page("R9999").is_none());
}
