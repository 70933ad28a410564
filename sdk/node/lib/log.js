/*
 * log - lines on stderr that rappeld takes over as this worker's events.
 *
 * The form is that of common/log.c; the level is RAPPEL_LOG_LEVEL. Writes to
 * stderr do not wait in memory: what was logged before a crash is there.
 */
'use strict';

const LEVELS = Object.freeze({ error: 0, warning: 1, info: 2, debug: 3 });
const LINE_MAX = 8000; // rappeld cuts at 8 KiB
// Control characters, separators of lines, what turns the direction of text.
const HARMFUL =
  /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

function escaped(character) {
  if (character === '\n') return '\\n';
  if (character === '\t') return '\\t';
  return [...Buffer.from(character)]
    .map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
}

function quoted(text) {
  return `"${text.replace(/["\\]/g, '\\$&').replace(HARMFUL, escaped)}"`;
}

/** A field's value: as it is when that is plain, in quotes otherwise. */
function fieldOf(value) {
  let text;
  if (typeof value === 'string') {
    text = value;
  } else {
    try {
      text = JSON.stringify(value, (_, part) =>
        (typeof part === 'bigint' ? String(part) : part)) ?? String(value);
    } catch (error) {
      text = `(${error.message})`;
    }
  }
  return /^[\w.,:;/@%+*()[\]-]+$/.test(text) ? text : quoted(text);
}

/** " key=value" for each; keys are made to fit. */
function fieldsOf(fields) {
  let text = '';
  for (const [key, value] of Object.entries(fields ?? {})) {
    if (value === undefined) continue;
    const name = key.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase()
      .replace(/[^a-z0-9_]/g, '_').replace(/^[^a-z]+/, '');
    text += ` ${name || 'field'}=${fieldOf(value)}`;
  }
  return text;
}

class Log {
  /** write takes a whole line; the worker's is stderr's. */
  constructor(component, level, write) {
    this.component = component;
    this.level = LEVELS[level] ?? LEVELS.info;
    this.write = write;
  }

  line(level, message, fields) {
    const rank = LEVELS[level === 'warn' ? 'warning' : level];
    if (rank === undefined) {
      throw new TypeError(`log level ${JSON.stringify(level)}: it must be ` +
        'error, warning, info or debug');
    }
    if (rank > this.level) return;
    let line = `ts=${new Date().toISOString()} ` +
      `level=${Object.keys(LEVELS)[rank]} comp=${this.component} ` +
      `msg=${quoted(String(message).slice(0, LINE_MAX / 2))}` +
      fieldsOf(fields);
    if (line.length > LINE_MAX) line = line.slice(0, LINE_MAX);
    this.write(`${line}\n`);
  }
}

module.exports = { LEVELS, Log };
