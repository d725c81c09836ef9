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

/// The first thread to come here, if `KEYWHEEL_FAILPOINT` names this point, says so in a line on stderr and stays until standard
/// input ends; all others pass.
#[cfg(feature = "failpoints")]
pub(crate) fn reached(name: &str) {
    use std::io::{Write as _, stderr, stdin};
    use std::sync::{LazyLock, Mutex};

    #[expect(clippy::disallowed_methods, reason = "no setting: what is shipped does not know it")]
    static CHOSEN: LazyLock<Mutex<Option<String>>> =
        LazyLock::new(|| Mutex::new(std::env::var("KEYWHEEL_FAILPOINT").ok()));
    let chosen = CHOSEN
        .lock()
        .ok()
        .and_then(|mut chosen| chosen.take_if(|chosen| chosen.as_str() == name));
    if chosen.is_some() && writeln!(stderr(), "failpoint {name}").is_ok() {
        drop(std::io::copy(&mut stdin(), &mut std::io::sink()));
    }
}
