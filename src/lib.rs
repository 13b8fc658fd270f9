//! logherald: watches logs, holds back noise and says how much, tells Google Chat.

pub mod alert;
pub mod hit;
pub mod line;
pub mod message;
pub mod redact;
pub mod state;
pub mod template;
pub mod time;

pub mod agent;
pub mod chat;
pub mod cli;
pub mod config;
pub mod deliver;
pub mod judge;
pub mod rules;
pub mod store;
pub mod tail;
