//! Stands between a source and QMP: cuts the line after a number of commands, keeps a list of them, and answers for a
//! guest that a storage daemon does not have.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};

type Answer = dyn Fn(&str, &Value) -> Option<Value> + Send + Sync;

pub struct Proxy {
    pub path: PathBuf,
    budget: Arc<AtomicI64>,
    pub commands: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub fn start(real: PathBuf, path: PathBuf) -> Proxy {
        Self::with_answers(real, path, Arc::new(|_, _| None))
    }

    /// Commands for which `answers` has something do not reach the real one.
    pub fn with_answers(real: PathBuf, path: PathBuf, answers: Arc<Answer>) -> Proxy {
        let budget = Arc::new(AtomicI64::new(i64::MAX));
        let commands = Arc::new(Mutex::new(Vec::new()));
        let listener = UnixListener::bind(&path).unwrap();
        let task = tokio::spawn(serve(listener, real, budget.clone(), commands.clone(), answers));
        Proxy { path, budget, commands, task }
    }

    /// From now on only so many commands are answered. The one after is carried out, its answer lost.
    pub fn allow(&self, commands: i64) {
        self.budget.store(commands, Ordering::SeqCst);
    }

    pub fn is_spent(&self) -> bool {
        self.budget.load(Ordering::SeqCst) < 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: UnixListener,
    real: PathBuf,
    budget: Arc<AtomicI64>,
    commands: Arc<Mutex<Vec<String>>>,
    answers: Arc<Answer>,
) {
    while let Ok((client, _)) = listener.accept().await {
        // One client at a time, as QEMU does.
        let _ = relay(client, &real, &budget, &commands, &*answers).await;
    }
}

async fn relay(
    client: UnixStream,
    real: &Path,
    budget: &AtomicI64,
    commands: &Mutex<Vec<String>>,
    answers: &Answer,
) -> std::io::Result<()> {
    let (client_read, mut client_write) = client.into_split();
    let mut requests = BufReader::new(client_read).lines();
    let (real_read, mut real_write) = UnixStream::connect(real).await?.into_split();
    let mut replies = BufReader::new(real_read).lines();
    let greeting = no_event(&mut replies).await?.unwrap_or_default();
    client_write.write_all(format!("{greeting}\n").as_bytes()).await?;
    while let Some(request) = requests.next_line().await? {
        let message: Value = serde_json::from_str(&request)?;
        let name = message["execute"].as_str().unwrap_or_default().to_owned();
        commands.lock().unwrap().push(name.clone());
        let reply = match answers(&name, &message["arguments"]) {
            Some(value) => json!({ "return": value, "id": message["id"] }).to_string(),
            None => {
                real_write.write_all(format!("{request}\n").as_bytes()).await?;
                let Some(reply) = no_event(&mut replies).await? else { return Ok(()) };
                reply
            }
        };
        // What is sent in negotiation mode costs nothing.
        if name != "qmp_capabilities" && budget.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Ok(());
        }
        client_write.write_all(format!("{reply}\n").as_bytes()).await?;
    }
    Ok(())
}

/// The next line that is no event. One may come ahead of the greeting, too.
async fn no_event(replies: &mut Lines<BufReader<OwnedReadHalf>>) -> std::io::Result<Option<String>> {
    loop {
        match replies.next_line().await? {
            Some(line) if line.contains("\"event\"") => {}
            line => return Ok(line),
        }
    }
}
