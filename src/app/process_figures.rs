use std::fs;
use std::path::Path;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::server::ProcessFigures;

/// What the system says of this process now, on a machine that was started at `booted_at`, in seconds since 1970; `None` where it has no
/// `/proc`. Of that it needs what is about processes alone, for more is not shown to everybody.
pub(super) fn read(booted_at: f64) -> Option<ProcessFigures> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let most_files = getrlimit(Resource::Nofile).current;
    let files = Files {
        open: open_files(Path::new("/proc/self/fd"))?,
        most: most_files.map_or(i64::MAX, |most| i64::try_from(most).unwrap_or(i64::MAX)),
    };
    let units = Units {
        page: i64::try_from(page_size()).unwrap_or(i64::MAX),
        ticks: clock_ticks_per_second(),
    };
    figures(&stat, booted_at, files, units)
}

#[derive(Debug, Clone, Copy)]
struct Files {
    open: i64,
    most: i64,
}

/// A page in bytes, and ticks in a second.
#[derive(Debug, Clone, Copy)]
struct Units {
    page: i64,
    ticks: u64,
}

/// Of proc_pid_stat(5). The name of the program stands in parentheses and may have any of them in it, and spaces.
fn figures(stat: &str, booted_at: f64, files: Files, units: Units) -> Option<ProcessFigures> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // The first of them is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticks: u64| ticks as f64 / units.ticks as f64;
    let bytes = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Some(ProcessFigures {
        processor_time: seconds(field(14)?.saturating_add(field(15)?)),
        threads: bytes(field(20)?),
        begun_at: booted_at + seconds(field(22)?),
        virtual_memory: bytes(field(23)?),
        resident_memory: bytes(field(24)?).saturating_mul(units.page),
        open_files: files.open,
        most_files: files.most,
    })
}

/// Since Linux 6.2 the folder's size is their number. Before, they have to be counted.
fn open_files(folder: &Path) -> Option<i64> {
    let told = fs::metadata(folder).ok()?.len();
    let number = if told > 0 {
        told
    } else {
        fs::read_dir(folder).ok()?.count() as u64
    };
    i64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_any_name_is_read() {
        let stat = "4711 (key) wheel (2) S 1 4711 4711 0 -1 4194560 5 6 7 8 150 50 9 10 20 0 12 0 3000 104857600 2560 18446744073709551615";
        let units = Units {
            page: 4_096,
            ticks: 100,
        };
        let files = Files { open: 30, most: 1_024 };
        let found = figures(stat, 1_900_000_000.0, files, units).unwrap();
        assert_eq!(
            found,
            ProcessFigures {
                processor_time: 2.0,
                threads: 12,
                begun_at: 1_900_000_030.0,
                virtual_memory: 104_857_600,
                resident_memory: 10_485_760,
                open_files: 30,
                most_files: 1_024,
            }
        );
        assert_eq!(figures("4711 (keywheel) S 1 2", 0.0, files, units), None);
    }

    #[test]
    fn this_process_has_files_memory_and_threads() {
        let found = read(0.0).unwrap();
        assert!(
            found.open_files >= 3 && found.open_files <= found.most_files,
            "{found:?}"
        );
        assert!(found.resident_memory > 1_000_000 && found.threads >= 2, "{found:?}");
        let listed = fs::read_dir("/proc/self/fd").unwrap().count() as i64;
        assert!(
            (open_files(Path::new("/proc/self/fd")).unwrap() - listed).abs() < 64,
            "others open files, too"
        );
    }
}
