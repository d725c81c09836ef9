//! What a migration may do while the version before it runs: add. The rules are in CONTRIBUTING.md.

/// How a migration says that it takes something away which no program in use needs any more.
const CONTRACT: &str = "-- Contract:";

/// Why a migration is refused, if it is.
pub(super) fn refused(sql: &str) -> Option<String> {
    let statements = statements(sql);
    if sql.lines().any(|line| line.starts_with(CONTRACT)) {
        let raises = statements
            .iter()
            .any(|words| words.starts_with("UPDATE schema_compat SET needs = "));
        return (!raises).then(|| "a contract step says in schema_compat what a program must know".to_owned());
    }
    let made: Vec<&str> = statements
        .iter()
        .filter_map(|words| after(words, "CREATE TABLE "))
        .collect();
    let added: Vec<&str> = statements
        .iter()
        .filter(|words| words.starts_with("ALTER TABLE "))
        .flat_map(|words| words.split("ADD COLUMN ").skip(1))
        .filter_map(|rest| rest.split(' ').next())
        .collect();
    let is_made = |table: &str| made.contains(&table);
    // SQLite alters little: a table is filled anew and takes the old one's place.
    let replaced: Vec<&str> = statements
        .iter()
        .filter(|words| after(words, "ALTER TABLE ").is_some_and(is_made))
        .filter_map(|words| Some(words.split_once(" RENAME TO ")?.1))
        .collect();
    let breaks = |words: &str| {
        if let Some(table) = after(words, "ALTER TABLE ") {
            return !is_made(table) && clauses(words).any(|clause| !only_adds(clause));
        }
        if let Some(table) = after(words, "DROP TABLE ") {
            return !replaced.contains(&table);
        }
        if words.starts_with("CREATE UNIQUE INDEX ") {
            // What the version before writes must not be a duplicate.
            let (table, columns) = words.split_once(" ON ").unwrap().1.split_once(" (").unwrap();
            let columns = columns.split(')').next().unwrap_or_default();
            return !is_made(table) && !columns.split(", ").all(|column| added.contains(&column));
        }
        let harmless = [
            "CREATE TABLE ",
            "CREATE INDEX ",
            "INSERT INTO ",
            "UPDATE ",
            "SET LOCAL lock_timeout = ",
        ];
        !harmless.iter().any(|begin| words.starts_with(begin))
    };
    statements.iter().find(|words| breaks(words)).cloned()
}

/// The statements, each in one line with single spaces and without comments.
fn statements(sql: &str) -> Vec<String> {
    let code: Vec<&str> = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect();
    code.join(" ")
        .split(';')
        .map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|statement| !statement.is_empty())
        .collect()
}

/// The word after a beginning.
fn after<'a>(words: &'a str, begin: &str) -> Option<&'a str> {
    words.strip_prefix(begin)?.split(' ').next()
}

/// The clauses of ALTER TABLE, which commas separate outside of parentheses.
fn clauses(words: &str) -> impl Iterator<Item = &str> {
    let list = words.splitn(4, ' ').nth(3).unwrap_or_default();
    let mut depth = 0;
    list.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
}

/// A column that the version before need not know of when it writes a row, or how the table is stored.
fn only_adds(clause: &str) -> bool {
    if clause.starts_with("SET (") {
        return true;
    }
    let fills_itself = clause.contains(" DEFAULT ") || clause.contains("SERIAL") || !clause.contains(" NOT NULL");
    clause.starts_with("ADD COLUMN ") && fills_itself && !clause.contains(" UNIQUE")
}

#[test]
fn what_would_break_the_version_before_is_refused() {
    for sql in [
        "DROP TABLE clients;",
        "DROP INDEX clients_by_owner;",
        "ALTER TABLE clients DROP COLUMN name;",
        "ALTER TABLE clients RENAME COLUMN name TO title;",
        "ALTER TABLE clients RENAME TO applications;",
        "ALTER TABLE clients ADD COLUMN a TEXT,\n    ADD COLUMN b TEXT NOT NULL;",
        "ALTER TABLE clients ADD COLUMN a TEXT UNIQUE;",
        "ALTER TABLE clients ALTER COLUMN name TYPE BIGINT;",
        "ALTER TABLE clients ALTER COLUMN owner SET NOT NULL;",
        "ALTER TABLE clients SET SCHEMA elsewhere;",
        "ALTER TABLE clients SET (fillfactor = 90), DROP COLUMN name;",
        "ALTER TABLE clients ADD CONSTRAINT short CHECK (length(name) < 10);",
        "CREATE UNIQUE INDEX names ON clients (name);",
        "DELETE FROM clients;",
        "CREATE TRIGGER t BEFORE INSERT ON clients EXECUTE FUNCTION f();",
        "CREATE TABLE fresh (id BIGINT);\nDROP TABLE clients;\nALTER TABLE fresh RENAME TO users;",
        "-- Contract: nobody reads the column.\nALTER TABLE clients DROP COLUMN name;",
    ] {
        assert!(refused(sql).is_some(), "{sql}");
    }
}

#[test]
fn what_adds_and_a_contract_step_that_says_so_are_accepted() {
    for sql in [
        "-- DROP TABLE in a comment\nCREATE TABLE t (id BIGINT NOT NULL, a NUMERIC(1, 2) NOT NULL UNIQUE);",
        "ALTER TABLE clients ADD COLUMN a BIGINT NOT NULL DEFAULT 0 CHECK (a IN (0, 1)), ADD COLUMN b TEXT;",
        "ALTER TABLE clients ADD COLUMN number BIGSERIAL;\nCREATE UNIQUE INDEX n ON clients (number);",
        "CREATE TABLE fresh (id BIGINT);\nINSERT INTO fresh SELECT id FROM t;\nDROP TABLE t;\nALTER TABLE fresh RENAME TO t;",
        "ALTER TABLE clients SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);",
        "-- Contract: since 0.2 nobody reads the column.\nALTER TABLE clients DROP COLUMN name;\n\
         UPDATE schema_compat SET needs = '0018';",
    ] {
        assert_eq!(refused(sql), None, "{sql}");
    }
}
