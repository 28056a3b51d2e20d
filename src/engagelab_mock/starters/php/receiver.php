<?php
// A safe receiver of EngageLab's callbacks: PHP 8.1 or newer with pdo_sqlite, no packages.
// Its guide is docs/howto/php.md of engagelab-mock.
declare(strict_types=1);

// --- Receive
/** Return the status to answer with. */
function receive(string $header, string $body): int
{
    if ($body === '' || $body === '{}') {
        return 200; // the address validation, unsigned in EngageLab's document
    }
    // PHP joins two headers of the same name with a comma.
    if (str_contains($header, ',') || !is_genuine($header)) {
        return 401;
    }
    $rows = rows_of($body);
    if ($rows === null) {
        return 400;
    }
    return store($header, hash('sha256', $body), $rows) ? 200 : 401;
}

// --- Signature
function is_genuine(string $header): bool
{
    $username = getenv('ENGAGELAB_WEBHOOK_USERNAME');
    $secret = getenv('ENGAGELAB_WEBHOOK_SECRET');
    if (!$username || !$secret) {
        throw new RuntimeException('set ENGAGELAB_WEBHOOK_USERNAME and ENGAGELAB_WEBHOOK_SECRET');
    }
    $parts = [];
    foreach (explode(';', $header) as $part) {
        [$name, $value] = explode('=', $part, 2) + ['', ''];
        $parts[trim($name)] = trim($value);
    }
    $timestamp = $parts['timestamp'] ?? '';
    if (!preg_match('/^[0-9]{1,12}\z/', $timestamp) || abs(time() - (int) $timestamp) > 300) {
        return false;
    }
    $expected = hash_hmac('sha256', $timestamp . ($parts['nonce'] ?? '') . $username, $secret);
    $same = hash_equals($expected, $parts['signature'] ?? ''); // in constant time
    return $same && ($parts['username'] ?? '') === $username;
}

// --- Body
/** Return the rows of a body, or null if it has none. */
function rows_of(string $body): ?array
{
    // An id has 19 digits: without the flag, one that does not fit into an integer becomes a float.
    $value = json_decode($body, true, 64, JSON_BIGINT_AS_STRING);
    $rows = is_array($value) ? $value['rows'] ?? null : null;
    return is_array($rows) && array_is_list($rows) ? $rows : null;
}

// --- Status
// A status only replaces one of lower rank: neither the order of arrival nor a second delivery matters.
const RANK = [
    'plan' => 0, 'target_valid' => 1, 'target_invalid' => 2, 'sent_failed' => 3, 'sent' => 4, 'delivered_failed' => 5,
    'delivered' => 6, 'verified_timeout' => 7, 'verified_failed' => 8, 'verified' => 9,
];
// One statement, so that no other callback can come in between. A status is only raised to `verified` once.
const RAISE_STATUS = <<<'SQL'
    INSERT INTO messages (id, status, rank, credits) VALUES (:id, :status, :rank, :status = 'verified')
    ON CONFLICT (id) DO UPDATE SET status = excluded.status, rank = excluded.rank, credits = credits + excluded.credits
    WHERE excluded.rank > messages.rank
    SQL;

/** Keep the status of a row. Ignore a row of another kind, or with a status that is not known. */
function keep(PDOStatement $raise, mixed $row): void
{
    $id = is_array($row) ? $row['message_id'] ?? null : null;
    $section = is_array($row) ? $row['status'] ?? null : null;
    $status = is_array($section) ? $section['message_status'] ?? null : null;
    $status = $status === 'sent_fail' ? 'sent_failed' : $status; // how newer documents spell it
    if ((is_string($id) || is_int($id)) && is_string($status) && isset(RANK[$status])) {
        $raise->execute(['id' => (string) $id, 'status' => $status, 'rank' => RANK[$status]]);
    }
}

// --- Store
/** Store a callback in one transaction: all of it, or nothing. Tell whether its signature had no other body before. */
function store(string $header, string $digest, array $rows): bool
{
    $db = database();
    $db->exec('BEGIN IMMEDIATE'); // other callbacks wait
    $db->exec('DELETE FROM signatures WHERE at < unixepoch() - 600'); // too old to pass by now
    $insert = $db->prepare('INSERT OR IGNORE INTO signatures VALUES (?, ?, unixepoch())');
    $insert->execute([$header, $digest]);
    $known = $db->prepare('SELECT digest FROM signatures WHERE header = ?');
    $known->execute([$header]);
    // EngageLab does not sign the body: a genuine signature only counts with the body that it came with first.
    $first = $known->fetchColumn() === $digest;
    $raise = $db->prepare(RAISE_STATUS);
    foreach ($first ? $rows : [] as $row) {
        keep($raise, $row);
    }
    $db->exec('COMMIT');
    return $first;
}

function database(): PDO
{
    $file = getenv('CALLBACKS_FILE') ?: __DIR__ . '/callbacks.sqlite';
    $db = new PDO("sqlite:$file", options: [PDO::ATTR_TIMEOUT => 10]);
    $db->exec('PRAGMA journal_mode = WAL');
    $db->exec('CREATE TABLE IF NOT EXISTS signatures (header TEXT PRIMARY KEY, digest TEXT, at INTEGER)');
    $db->exec('CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, status TEXT, rank INTEGER, credits INTEGER)');
    return $db;
}

/** Return the state of a message, or null. */
function state_of(string $id): ?array
{
    $found = database()->prepare('SELECT status, credits FROM messages WHERE id = ?');
    $found->execute([$id]);
    return $found->fetch(PDO::FETCH_ASSOC) ?: null;
}

// --- Serve
http_response_code(500); // until the callback is stored: EngageLab sends it again after an error
ini_set('display_errors', '0');
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '';
if (getenv('SHOW_STATE') && $_SERVER['REQUEST_METHOD'] === 'GET' && str_starts_with($path, '/messages/')) {
    http_response_code(200);
    echo json_encode(state_of(substr($path, strlen('/messages/')))); // for the checks, not for production
} elseif ($path !== '/engagelab') {
    http_response_code(404);
} elseif ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    http_response_code(405);
} else {
    // The raw bytes: $_POST is empty for JSON.
    http_response_code(receive(signature_header(), file_get_contents('php://input')));
}

/** Return X-CALLBACK-ID. Not from $_SERVER, in which X_CALLBACK_ID has the same name. */
function signature_header(): string
{
    foreach (getallheaders() as $name => $value) {
        if (strcasecmp($name, 'X-CALLBACK-ID') === 0) {
            return $value;
        }
    }
    return '';
}
