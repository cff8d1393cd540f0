//! Holding a guest's file systems frozen for a moment, and letting go whatever happens.
//!
//! A guest that stays frozen is worse than a point in time that is only crash-consistent. So the hold has a bound of
//! its own, it ends when the asking side ends, and a marker file is written before the freeze and removed after the
//! thaw: where it is left, [`thaw_leftover`] thaws, and where it is not, a frozen guest is somebody else's. A thaw that
//! is not confirmed is tried again for as long as it takes, also when nobody waits for it any more.
//!
//! The hold is a task, or, to survive `kill -9` of this process, a process of its own: [`thaw_guard_main`] is what it
//! runs. Both follow [`hold_frozen`]:
//!
//! ```text
//! sync ─▶ marker ─▶ freeze ─▶ tell ─▶ wait for the other side, its end, or the bound ─▶ thaw ─▶ remove marker
//!                     └─ fails, hangs ─▶ thaw ─▶ tell
//! ```
//! A thaw goes on behind its bound, in the background of the same task or process.

use crate::qga::{Agent, QgaError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Before a thaw that was not confirmed is tried again, at first …
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// … and at last.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Bounds of a freeze.
#[derive(Clone, Copy, Debug)]
pub struct FreezeLimits {
    /// Until an agent has answered at all.
    pub sync: Duration,
    /// Until the file systems are flushed and frozen.
    pub freeze: Duration,
    /// How long they stay frozen at most.
    pub hold: Duration,
    /// How long the end of a hold is waited for. The thaw itself goes on until it is confirmed.
    pub thaw: Duration,
}

impl Default for FreezeLimits {
    fn default() -> Self {
        Self {
            sync: Duration::from_secs(3),
            freeze: Duration::from_secs(20),
            // The transaction takes milliseconds; Windows' own shadow copies give up after ten seconds.
            hold: Duration::from_secs(10),
            thaw: Duration::from_secs(20),
        }
    }
}

/// What is to be frozen.
#[derive(Clone, Debug)]
pub struct FreezeOrder {
    /// Socket of the guest agent's channel.
    pub agent: PathBuf,
    /// File whose existence says that we may have left the guest frozen.
    pub marker: PathBuf,
    /// Marks the agent's first answer; drawn anew for each order.
    pub sync_id: u64,
    /// Bounds.
    pub limits: FreezeLimits,
}

/// A program that runs [`thaw_guard_main`] with the arguments of [`FreezeOrder::to_args`] behind its own.
#[derive(Clone, Debug)]
pub struct FreezerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its own arguments, for example the name of a hidden subcommand.
    pub args: Vec<String>,
}

/// How a hold ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Held {
    /// Frozen from the answer on until it was asked to let go.
    Throughout,
    /// The bound ran out before, something else has thawed, or the answer that would tell was lost: what was done
    /// meanwhile may not have been done on frozen file systems.
    TooShort,
    /// The agent has not confirmed the thaw yet: it is tried on, and the marker stays until then.
    Stuck(String),
}

/// What a hold has come to.
#[derive(Debug)]
pub struct Released {
    /// How it ended.
    pub held: Held,
    /// The thaw, if it is not confirmed yet. It goes on if this is dropped, for as long as the process lives.
    pub rest: Option<JoinHandle<()>>,
}

/// File systems that are frozen. Dropping it thaws as well, in the background.
pub struct Frozen {
    /// How many.
    pub file_systems: u64,
    thaw_limit: Duration,
    hold: Hold,
}

enum Hold {
    Task { stop: oneshot::Sender<()>, end: JoinHandle<Released> },
    Process { stdin: ChildStdin, lines: BufReader<ChildStdout>, child: Box<Child> },
}

impl FreezeOrder {
    /// As arguments of a program.
    pub fn to_args(&self) -> Vec<String> {
        let FreezeLimits { sync, freeze, hold, thaw } = self.limits;
        let millis = [sync, freeze, hold, thaw].map(|limit| limit.as_millis().to_string());
        let paths = [&self.agent, &self.marker].map(|path| path.to_string_lossy().into_owned());
        paths.into_iter().chain([self.sync_id.to_string()]).chain(millis).collect()
    }

    /// Back from [`FreezeOrder::to_args`].
    pub fn from_args(args: &[String]) -> Option<Self> {
        let [agent, marker, sync_id, sync, freeze, hold, thaw] = args else { return None };
        let millis = |text: &String| text.parse().ok().map(Duration::from_millis);
        let limits =
            FreezeLimits { sync: millis(sync)?, freeze: millis(freeze)?, hold: millis(hold)?, thaw: millis(thaw)? };
        Some(Self { agent: agent.into(), marker: marker.into(), sync_id: sync_id.parse().ok()?, limits })
    }
}

/// Freezes, in a process of its own if there is a command for one. An error says why not, in a sentence.
pub async fn freeze(order: FreezeOrder, freezer: Option<&FreezerCommand>) -> Result<Frozen, String> {
    match freezer {
        Some(command) => freeze_by_process(order, command).await,
        None => freeze_by_task(order).await,
    }
}

impl Frozen {
    /// Thaws and tells how it went.
    pub async fn thaw(self) -> Held {
        let late = || Held::Stuck("the thaw was not confirmed in time".into());
        match self.hold {
            Hold::Task { stop, end } => {
                // If the other side is gone, its bound ran out: then its own end says so.
                let _ = stop.send(());
                let ended = timeout(self.thaw_limit, end).await;
                ended.map_or_else(
                    |_| late(),
                    |end| end.map_or_else(|error| Held::Stuck(error.to_string()), |end| end.held),
                )
            }
            Hold::Process { stdin, mut lines, mut child } => {
                drop(stdin);
                let line = timeout(self.thaw_limit, read_line(&mut lines)).await;
                let held = match line.as_ref().map(|line| line.as_deref()) {
                    Ok(Ok("thawed")) => Held::Throughout,
                    Ok(Ok("early")) => Held::TooShort,
                    Ok(Ok(other)) => Held::Stuck(other.to_owned()),
                    Ok(Err(error)) => Held::Stuck(error.to_string()),
                    Err(_) => late(),
                };
                // It ends by itself now; waiting only spares a zombie until the runtime reaps it.
                let _ = timeout(Duration::from_secs(1), child.wait()).await;
                held
            }
        }
    }
}

/// Freezes, tells, waits for `stop` or the bound, thaws.
pub async fn hold_frozen(
    order: FreezeOrder,
    tell: oneshot::Sender<Result<u64, String>>,
    stop: impl Future<Output = ()>,
) -> Released {
    let limits = order.limits;
    let mut agent = match prepared(&order).await {
        Ok(agent) => agent,
        Err(why) => {
            let _ = tell.send(Err(why));
            return Released { held: Held::Throughout, rest: None };
        }
    };
    let mut early = false;
    let refused = match agent.freeze(limits.freeze).await {
        // Nothing to freeze is no consistency.
        Ok(0) => Some("the guest agent froze no file system".to_owned()),
        Ok(count) => {
            // Nobody there to hear it: then `stop` is ready as well, or the bound will do.
            if tell.send(Ok(count)).is_ok() {
                early = timeout(limits.hold, stop).await.is_err();
            }
            return thaw(agent, order, count, early).await;
        }
        Err(error) => Some(error.to_string()),
    };
    // The agent may yet carry out a freeze that it did not answer: the thaw stands behind it in the channel.
    let end = thaw(agent, order, 0, early).await;
    let _ = tell.send(Err(refused.unwrap_or_default()));
    end
}

/// Thaws a guest that carries our marker. Gives whether it was frozen.
pub async fn thaw_leftover(order: &FreezeOrder) -> Result<bool, QgaError> {
    if !order.marker.exists() {
        return Ok(false);
    }
    let limits = order.limits;
    let mut agent = Agent::connect(&order.agent, order.sync_id, limits.sync).await?;
    let frozen = agent.is_frozen(limits.sync).await?;
    if frozen {
        agent.thaw(limits.thaw).await?;
    }
    remove(&order.marker);
    Ok(frozen)
}

/// What a process that guards a freeze runs: one line `frozen N` or `failed WHY`, then, when `input` ends or the bound
/// has run out, `thawed`, `early` or a sentence why the thaw is in doubt. Returns when the thaw is confirmed, whoever
/// listens.
pub async fn thaw_guard_main(
    order: FreezeOrder,
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (tell, told) = oneshot::channel();
    let stop = async move {
        let mut byte = [0];
        while matches!(input.read(&mut byte).await, Ok(read) if read > 0) {}
    };
    let say = async {
        let line = match told.await {
            Ok(Ok(count)) => format!("frozen {count}\n"),
            Ok(Err(why)) => format!("failed {why}\n"),
            Err(_) => "failed the guard ended\n".to_owned(),
        };
        // Whoever asked may be gone: that shows as the end of the input.
        let _ = output.write_all(line.as_bytes()).await;
        let _ = output.flush().await;
        output
    };
    let (Released { held, rest }, mut output) = tokio::join!(hold_frozen(order, tell, stop), say);
    let line = match held {
        Held::Throughout => "thawed\n".to_owned(),
        Held::TooShort => "early\n".to_owned(),
        Held::Stuck(why) => format!("{why}\n"),
    };
    let told = async {
        output.write_all(line.as_bytes()).await?;
        output.flush().await
    };
    let told = told.await;
    if let Some(rest) = rest {
        let _ = rest.await;
    }
    told
}

async fn prepared(order: &FreezeOrder) -> Result<Agent, String> {
    let limits = order.limits;
    let told = |error: QgaError| error.to_string();
    let mut agent = Agent::connect(&order.agent, order.sync_id, limits.sync).await.map_err(told)?;
    if agent.is_frozen(limits.sync).await.map_err(told)? {
        let who = if order.marker.exists() { "a thaw of ours is not confirmed yet" } else { "another program did it" };
        return Err(format!("the guest's file systems are frozen already: {who}"));
    }
    let marked = std::fs::write(&order.marker, b"frozen by godwit; removed after the thaw\n");
    marked.map_err(|error| format!("the marker {} cannot be written: {error}", order.marker.display()))?;
    Ok(agent)
}

/// Thaws `frozen` file systems; what takes longer than its bound goes on in the background.
async fn thaw(agent: Agent, order: FreezeOrder, frozen: u64, early: bool) -> Released {
    let bound = order.limits.thaw;
    let (tell, told) = oneshot::channel();
    let work = tokio::spawn(thaw_until_confirmed(agent, order, tell));
    match timeout(bound, told).await {
        Ok(Ok(thawed)) if !early && thawed.is_some_and(|thawed| thawed >= frozen) => {
            Released { held: Held::Throughout, rest: None }
        }
        Ok(Ok(_)) => Released { held: Held::TooShort, rest: None },
        Ok(Err(_)) => Released { held: Held::Stuck("the machine has ended".into()), rest: None },
        Err(_) => {
            let why = "the guest agent did not confirm the thaw; it is thawed as soon as it answers";
            Released { held: Held::Stuck(why.into()), rest: Some(work) }
        }
    }
}

/// Thaws until the agent has confirmed it, somebody else has, or nobody listens on its channel any more. Tells how many
/// file systems the first attempt thawed, or `None` if that was not answered: a later one finds what it left.
async fn thaw_until_confirmed(agent: Agent, order: FreezeOrder, tell: oneshot::Sender<Option<u64>>) {
    let limits = order.limits;
    let mut first = Some(agent);
    let mut pause = FIRST_PAUSE;
    for attempt in 0_u64.. {
        // Each attempt but the first has a conversation of its own, and the one before has ended by then: the channel
        // serves one at a time, and an answer that is late would be taken for the next one's.
        let outcome = async {
            let mut agent = match first.take() {
                Some(agent) => agent,
                None => Agent::connect(&order.agent, order.sync_id.wrapping_add(attempt), limits.sync).await?,
            };
            agent.thaw(limits.sync).await
        };
        match outcome.await {
            Ok(thawed) => {
                remove(&order.marker);
                let _ = tell.send((attempt == 0).then_some(thawed));
                return;
            }
            // The machine has ended, and its freeze with it.
            Err(error) if error.is_gone() => return,
            Err(error) => tracing::debug!(%error, attempt, "thaw not confirmed, trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        if !order.marker.exists() {
            let _ = tell.send(None);
            return;
        }
    }
}

async fn freeze_by_task(order: FreezeOrder) -> Result<Frozen, String> {
    let thaw_limit = order.limits.thaw + Duration::from_secs(1);
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let until = async move {
        let _ = stopped.await;
    };
    let end = tokio::spawn(hold_frozen(order, tell, until));
    let file_systems = told.await.unwrap_or_else(|_| Err("the task that freezes ended".into()))?;
    Ok(Frozen { file_systems, thaw_limit, hold: Hold::Task { stop, end } })
}

async fn freeze_by_process(order: FreezeOrder, freezer: &FreezerCommand) -> Result<Frozen, String> {
    let thaw_limit = order.limits.thaw + Duration::from_secs(1);
    let FreezeLimits { sync, freeze, thaw, .. } = order.limits;
    let mut command = Command::new(&freezer.program);
    command.args(&freezer.args).args(order.to_args());
    // It needs nothing of the environment, which may hold the master key.
    command.env_clear();
    // In a group of its own, so that Ctrl-C does not end it before it has thawed.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let started = |error: io::Error| format!("the program that freezes cannot be started: {error}");
    let mut child = command.spawn().map_err(started)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the program that freezes has no pipes".into());
    };
    let mut lines = BufReader::new(stdout);
    // Two answers before the freeze, and the thaw of a freeze that failed.
    let bound = sync * 2 + freeze + thaw + Duration::from_secs(1);
    let line = timeout(bound, read_line(&mut lines)).await.map_err(|_| "the program that freezes hangs".to_owned())?;
    let line = line.map_err(|error| format!("the program that freezes ended: {error}"))?;
    match line.strip_prefix("frozen ").and_then(|count| count.parse().ok()) {
        Some(file_systems) => {
            Ok(Frozen { file_systems, thaw_limit, hold: Hold::Process { stdin, lines, child: Box::new(child) } })
        }
        None => Err(line.strip_prefix("failed ").unwrap_or(&line).to_owned()),
    }
}

async fn read_line(lines: &mut BufReader<ChildStdout>) -> io::Result<String> {
    let mut line = String::new();
    lines.take(4096).read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn remove(marker: &Path) {
    if let Err(error) = std::fs::remove_file(marker)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, marker = %marker.display(), "cannot remove the marker of a freeze");
    }
}
