use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// What the system says of the process, under the names that Prometheus' own clients give it.
#[derive(Debug, Default)]
pub(super) struct ProcessMetrics {
    processor_time: Counter<f64, AtomicU64>,
    resident_memory: Gauge,
    virtual_memory: Gauge,
    open_files: Gauge,
    most_files: Gauge,
    threads: Gauge,
    begun_at: Gauge<f64, AtomicU64>,
}

/// The same at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessFigures {
    /// Seconds that processors spent on it.
    pub processor_time: f64,
    /// In bytes.
    pub resident_memory: i64,
    /// In bytes.
    pub virtual_memory: i64,
    /// Files that are open, connections among them.
    pub open_files: i64,
    /// Most that may be.
    pub most_files: i64,
    /// Threads.
    pub threads: i64,
    /// When it was started, in seconds since 1970.
    pub begun_at: f64,
}

impl ProcessMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = ProcessMetrics::default();
        registry.register_with_unit(
            "process_cpu",
            "Time that processors spent on the process",
            Unit::Seconds,
            metrics.processor_time.clone(),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory of the process",
            Unit::Bytes,
            metrics.resident_memory.clone(),
        );
        registry.register_with_unit(
            "process_virtual_memory",
            "Virtual memory of the process",
            Unit::Bytes,
            metrics.virtual_memory.clone(),
        );
        registry.register(
            "process_open_fds",
            "Open files of the process",
            metrics.open_files.clone(),
        );
        registry.register(
            "process_max_fds",
            "Most open files of the process",
            metrics.most_files.clone(),
        );
        registry.register("process_threads", "Threads of the process", metrics.threads.clone());
        registry.register_with_unit(
            "process_start_time",
            "When the process was started, since 1970",
            Unit::Seconds,
            metrics.begun_at.clone(),
        );
        metrics
    }

    pub(super) fn set(&self, figures: &ProcessFigures) {
        self.processor_time
            .inner()
            .store(figures.processor_time.to_bits(), Ordering::Relaxed);
        self.resident_memory.set(figures.resident_memory);
        self.virtual_memory.set(figures.virtual_memory);
        self.open_files.set(figures.open_files);
        self.most_files.set(figures.most_files);
        self.threads.set(figures.threads);
        self.begun_at.set(figures.begun_at);
    }
}
