use super::*;

fn kinds(source: &str) -> Vec<Kind> {
    scan(source)
        .expect(source)
        .iter()
        .map(|tag| tag.kind)
        .collect()
}

#[test]
fn tags_are_found_in_order() {
    use Kind::*;
    let rows: [(&str, &[Kind]); 15] = [
        ("plain", &[]),
        ("{ one }", &[]),
        ("{{a.b}}", &[Hole]),
        (r"\{{a}}", &[]),
        (r"\\{{a}}", &[Hole]),
        (r"a\b{{a}}", &[Hole]),
        (r"\{{{{a}}", &[]),
        ("{{! a }} {{!-- }} --}}{{b}}", &[Comment, Comment, Hole]),
        ("{{!--}}x", &[Comment]),
        (
            "{{#if a}}x{{else if b}}y{{else}}z{{/if}}",
            &[Open, ElseIf, Else, Close],
        ),
        ("{{ # if a }}{{ / if }}", &[Open, Close]),
        ("{{default a \"}}\"}}{{b}}", &[Hole, Hole]),
        ("{{a.[}} x]}}", &[Hole]),
        ("{{a.[../ x].b}}", &[Hole]),
        ("{{default a '\\'}}'}}", &[Hole]),
    ];
    for (source, expected) in rows {
        assert_eq!(kinds(source), expected, "{source}");
    }
}

#[test]
fn what_is_not_in_the_language_is_named_at_its_place() {
    let rows = [
        ("x {{{a}}}", 2, "`{{{ }}}` is refused"),
        ("{{&a}}", 0, "`{{& }}` is refused"),
        ("{{> part}}", 0, "`{{> }}` is refused"),
        ("{{#> part}}x{{/part}}", 0, "`{{> }}` is refused"),
        ("{{* deco}}", 0, "`{{* }}` is refused"),
        ("{{#*inline 'a'}}{{/inline}}", 0, "`{{* }}` is refused"),
        ("{{{{raw}}}}a{{{{/raw}}}}", 0, "`{{{{` opens a raw block"),
        ("{{#if a}}x{{^}}y{{/if}}", 10, "`{{^}}` is refused"),
        ("{{~a}}", 0, "`~` is refused"),
        ("{{a~}}", 3, "`~` inside"),
        ("{{#with a}}{{/with}}", 0, "unknown block `#with`"),
        ("{{#if a}}x", 0, "`{{#if}}` is never closed"),
        (
            "{{#if a}}x{{/each}}",
            10,
            "`{{/each}}` where `{{#if}}` is open",
        ),
        ("x{{/if}}", 1, "`{{/if}}` closes no block"),
        ("{{else}}", 0, "`{{else}}` outside a block"),
        (
            "{{#if a}}{{else}}{{else}}{{/if}}",
            17,
            "a second `{{else}}` in `{{#if}}`",
        ),
        (
            "{{#if a}}{{else each b}}{{/if}}",
            9,
            "`{{else each …}}` is refused",
        ),
        ("ab {{a", 3, "`{{` is never closed"),
        ("{{}}", 0, "an empty `{{ }}`"),
        ("{{default a \"x}}", 12, "`\"` is never closed"),
        ("{{a.[b}}", 4, "`[` is never closed"),
        ("{{a.[\"b\"]}}", 5, "a quote or bracket inside `[ ]`"),
        ("{{a[0].b}}", 3, "`[` without a dot before it"),
        ("{{../a}}", 2, "`../` and `./` are refused"),
        ("{{./a}}", 2, "`../` and `./` are refused"),
        ("{{a/b}}", 2, "`/` in a name"),
        ("{{$.a.b}}", 2, "a name in `{{ }}` does not begin with `$`"),
        ("{{a ?? \"x\"}}", 4, "`??` inside"),
        ("{{join a, \",\"}}", 8, "`,` inside"),
        ("{{default a x=1}}", 13, "`=` inside"),
        ("{{default a 007}}", 12, "no JSON number"),
        ("{{a.\u{FDD0}}}", 4, "`${…}` inside a hole"),
        ("{{a }b}}", 4, "`}` inside"),
    ];
    for (source, offset, message) in rows {
        let found = scan(source).expect_err(source);
        assert_eq!(found.offset, offset, "{source}: {}", found.message);
        assert!(
            found.message.starts_with(message),
            "{source}: {}",
            found.message
        );
    }
}

#[test]
fn nesting_is_bounded() {
    let blocks = "{{#if a}}".repeat(17) + &"{{/if}}".repeat(17);
    let chain = format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{else if a}}".repeat(33));
    let parentheses = format!("{{{{#if {}", "(".repeat(100_000));
    let lists = format!("{{{{default a {}]}}}}", "[".repeat(60_000));
    let objects = format!("{{{{default a [{}]}}}}", "{\"a\":".repeat(10_000));
    let length = "x".repeat(MAX_TEXT + 1);
    for source in [&blocks, &chain, &parentheses, &lists, &objects, &length] {
        assert!(scan(source).is_err());
    }
    assert!(scan(&("{{#if a}}".repeat(16) + &"{{/if}}".repeat(16))).is_ok());
}

#[test]
fn tokens_know_their_offsets() {
    let source = "é {{default (lower a.b) 'x y'}}";
    let tags = scan(source).unwrap();
    let texts: Vec<_> = tags[0]
        .tokens
        .iter()
        .map(|token| &source[token.start..token.end])
        .collect();
    assert_eq!(texts, ["default", "lower", "a.b", "'x y'"]);
}
