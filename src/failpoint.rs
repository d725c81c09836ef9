//! Steps at which a test makes the process stay, to end it there: `tests/it/crashes.rs`. Without the feature `failpoints`
//! nothing of it is compiled.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` is for tests alone: no release holds a way to stop the server");

/// A step with a name of its own, which stands in the table of the crash tests.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::reached($name);
    };
}
pub(crate) use failpoint;

/// If `KEYWHEEL_FAILPOINT` names this point, the first thread to come here says so in a line on stderr and stays until standard
/// input ends; all others pass. `NAME 2` lets the first pass and keeps the second, and so on.
#[cfg(feature = "failpoints")]
pub(crate) fn reached(name: &str) {
    use std::io::{Write as _, stderr, stdin};
    use std::sync::{LazyLock, Mutex};

    #[expect(clippy::disallowed_methods, reason = "no setting: what is shipped does not know it")]
    static CHOSEN: LazyLock<Mutex<Option<(String, u32)>>> = LazyLock::new(|| {
        let chosen = std::env::var("KEYWHEEL_FAILPOINT").ok();
        Mutex::new(chosen.map(|chosen| match chosen.split_once(' ') {
            Some((name, nth)) => (name.to_owned(), nth.parse().unwrap_or(1)),
            None => (chosen, 1),
        }))
    });
    let chosen = CHOSEN.lock().ok().and_then(|mut chosen| {
        chosen.take_if(|(chosen, passes)| {
            let here = chosen.as_str() == name;
            *passes = passes.saturating_sub(u32::from(here));
            here && *passes == 0
        })
    });
    if chosen.is_some() && writeln!(stderr(), "failpoint {name}").is_ok() {
        drop(std::io::copy(&mut stdin(), &mut std::io::sink()));
    }
}
