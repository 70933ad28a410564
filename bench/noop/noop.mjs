// The noop of bench/languages in JavaScript.
import { action } from 'rappel';

action('noop', () => null);
