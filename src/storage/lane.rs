use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use diesel_async::async_connection_wrapper::BlockOn;
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use tokio::time::timeout;

thread_local! {
    /// `AsyncConnectionWrapper` asks for its runtime through a function without arguments.
    static HANDED_OVER: RefCell<Option<Lane>> = const { RefCell::new(None) };
}

/// The runtime of one connection, which runs only while a statement is under way. It waits for nothing longer than `limit`.
#[derive(Clone)]
pub(super) struct Lane {
    runtime: Option<Arc<Runtime>>,
    driver: Option<AbortHandle>,
    limit: Duration,
    silences: Silences,
    was_silent: Arc<AtomicBool>,
}

/// How often servers have fallen silent, counted by all connections to them. One that is older than the last time is not used again:
/// it goes the same way, and whoever uses it waits just as long.
#[derive(Debug, Clone, Default)]
pub(super) struct Silences(Arc<AtomicU64>);

impl Silences {
    pub(super) fn number(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn another(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Lane {
    /// A lane of its own, for one connection.
    pub(super) fn new(limit: Duration, silences: Silences) -> Result<Self, String> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Lane {
            runtime: Some(Arc::new(runtime)),
            driver: None,
            limit,
            silences,
            was_silent: Arc::default(),
        })
    }

    /// From now on who waits for longer than the limit ends the driver.
    pub(super) fn with_driver(&self, driver: AbortHandle) -> Self {
        let mut lane = self.clone();
        lane.driver = Some(driver);
        lane
    }

    /// Whether a statement was given up because there was no answer.
    pub(super) fn was_silent(&self) -> bool {
        self.was_silent.load(Ordering::Relaxed)
    }

    /// Hands the lane over to the connection that this thread makes next.
    pub(super) fn hand_over(&self) {
        HANDED_OVER.set(Some(self.clone()));
    }

    pub(super) fn run<F: Future>(&self, future: F) -> F::Output {
        let Some(runtime) = &self.runtime else {
            unreachable!("a lane without a runtime is never handed out")
        };
        runtime.block_on(async {
            let mut future = pin!(future);
            let Some(driver) = &self.driver else {
                return future.await;
            };
            match timeout(self.limit, future.as_mut()).await {
                Ok(output) => output,
                Err(_too_slow) => {
                    self.silences.another();
                    self.was_silent.store(true, Ordering::Relaxed);
                    // Without its driver the connection is closed, and whatever waits for it ends with an error.
                    driver.abort();
                    future.await
                }
            }
        })
    }
}

impl BlockOn for Lane {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.run(future)
    }

    fn get_runtime() -> Self {
        let Some(lane) = HANDED_OVER.take() else {
            unreachable!("a lane is handed over before a connection is made")
        };
        lane
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // A runtime must not be dropped where it would block, and connections are dropped anywhere.
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}
