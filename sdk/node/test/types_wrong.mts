/*
 * types_wrong - each marked line must be refused. Never run.
 */
import { ActionError, action, type Context } from 'rappel';
import * as rappel from 'rappel/client';
import { run } from 'rappel/testing';

declare const db: rappel.Connection;
const double = action('double', async (n: number) => n * 2);

action('nameless'); // wrong
action(1, () => null); // wrong
new ActionError(); // wrong
run(double, 'text'); // wrong
run(double, 1, { tries: 2 }); // wrong
rappel.start(db, 'x', {}, { keys: [] }); // wrong
rappel.start('no connection', 'x'); // wrong
((ctx: Context) => { ctx.attempt = 2; }); // wrong
((ctx: Context) => { ctx.log('loud', 'x'); }); // wrong
