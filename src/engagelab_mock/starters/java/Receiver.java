// A safe receiver of EngageLab's callbacks: Java 17 or newer, no packages. Start it with `java Receiver.java`.
// Its guide is docs/howto/java.md of engagelab-mock.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Receiver {
    static final String USERNAME = setting("ENGAGELAB_WEBHOOK_USERNAME", "");
    static final String SECRET = setting("ENGAGELAB_WEBHOOK_SECRET", "");

    // --- Receive

    /** Returns the status to answer with; the body has the raw bytes. */
    static int receive(List<String> signatures, byte[] body) throws GeneralSecurityException, IOException {
        String text = new String(body, StandardCharsets.UTF_8);
        if (text.isEmpty() || text.equals("{}")) {
            return 200; // the address validation, unsigned in EngageLab's document
        }
        if (signatures.size() != 1 || !isGenuine(signatures.get(0))) {
            return 401;
        }
        List<?> rows = rowsOf(text);
        if (rows == null) {
            return 400;
        }
        return store(signatures.get(0), text, rows) ? 200 : 401;
    }

    // --- Signature

    static boolean isGenuine(String header) throws GeneralSecurityException {
        Map<String, String> parts = new HashMap<>();
        for (String part : header.split(";")) {
            String[] pair = part.strip().split("=", 2);
            parts.put(pair[0], pair.length > 1 ? pair[1] : "");
        }
        String timestamp = parts.getOrDefault("timestamp", "");
        if (!timestamp.matches("[0-9]{1,12}") || Math.abs(now() - Long.parseLong(timestamp)) > 300) {
            return false;
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(SECRET.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
        String signed = timestamp + parts.getOrDefault("nonce", "") + USERNAME;
        String expected = HexFormat.of().formatHex(mac.doFinal(signed.getBytes(StandardCharsets.UTF_8)));
        byte[] given = parts.getOrDefault("signature", "").getBytes(StandardCharsets.UTF_8);
        boolean same = MessageDigest.isEqual(expected.getBytes(StandardCharsets.UTF_8), given); // in constant time
        return same && USERNAME.equals(parts.get("username"));
    }

    static long now() {
        return Instant.now().getEpochSecond();
    }

    // --- Body

    /** Returns the rows of a body, or null if it has none. */
    static List<?> rowsOf(String text) {
        try {
            // Each number is its text: an id has 19 digits, and a double keeps 15.
            Object value = new Json(text).document();
            return value instanceof Map<?, ?> body && body.get("rows") instanceof List<?> rows ? rows : null;
        } catch (IllegalArgumentException error) {
            return null;
        }
    }

    // --- Json

    /** Parses JSON. A number stays its text. In your app, use a library such as Jackson. */
    static class Json {
        private final String text;
        private int at = 0;

        Json(String text) {
            this.text = text;
        }

        Object document() {
            Object value = value(0);
            require(peek() == 0 && at == text.length());
            return value;
        }

        private Object value(int depth) {
            require(depth < 64);
            switch (peek()) {
                case '{':
                    Map<String, Object> fields = new HashMap<>();
                    at++;
                    if (!taken('}')) {
                        do {
                            require(peek() == '"');
                            String name = string();
                            require(taken(':'));
                            fields.put(name, value(depth + 1));
                        } while (taken(','));
                        require(taken('}'));
                    }
                    return fields;
                case '[':
                    List<Object> items = new ArrayList<>();
                    at++;
                    if (!taken(']')) {
                        do {
                            items.add(value(depth + 1));
                        } while (taken(','));
                        require(taken(']'));
                    }
                    return items;
                case '"':
                    return string();
                default:
                    int start = at;
                    while (Character.isLetterOrDigit(here()) || here() == '+' || here() == '-' || here() == '.') {
                        at++;
                    }
                    String word = text.substring(start, at);
                    require(word.matches("true|false|null|-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?"));
                    return word.equals("null") ? null : word;
            }
        }

        private String string() {
            StringBuilder found = new StringBuilder();
            for (at++; here() != '"'; at++) {
                require(here() >= ' ');
                if (here() != '\\') {
                    found.append(here());
                    continue;
                }
                at++;
                int place = "\"\\/bfnrtu".indexOf(here());
                require(place >= 0);
                if (here() == 'u') {
                    require(at + 5 <= text.length() && text.substring(at + 1, at + 5).matches("[0-9a-fA-F]{4}"));
                    found.append((char) Integer.parseInt(text.substring(at + 1, at + 5), 16));
                    at += 4;
                } else {
                    found.append("\"\\/\b\f\n\r\t".charAt(place));
                }
            }
            at++;
            return found.toString();
        }

        private char peek() {
            while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            return here();
        }

        private char here() {
            return at < text.length() ? text.charAt(at) : 0;
        }

        private boolean taken(char wanted) {
            boolean found = peek() == wanted;
            at += found ? 1 : 0;
            return found;
        }

        private void require(boolean holds) {
            if (!holds) {
                throw new IllegalArgumentException("not JSON at character " + at);
            }
        }
    }

    // --- Status

    // A status only replaces one of lower rank: neither the order of arrival nor a second delivery matters.
    static final List<String> RANK = List.of(
            "plan", "target_valid", "target_invalid", "sent_failed", "sent", "delivered_failed", "delivered",
            "verified_timeout", "verified_failed", "verified");

    record Message(String status, int credits) {}

    /** Keeps the status of a row. Ignores a row of another kind, or with a status that is not known. */
    static void keep(Object row) {
        if (!(row instanceof Map<?, ?> fields
                && fields.get("message_id") instanceof String id
                && fields.get("status") instanceof Map<?, ?> section
                && section.get("message_status") instanceof String given)) {
            return;
        }
        String status = given.equals("sent_fail") ? "sent_failed" : given; // how newer documents spell it
        Message known = MESSAGES.getOrDefault(id, new Message("", 0));
        if (RANK.indexOf(status) > RANK.indexOf(known.status())) {
            // A status is only raised to `verified` once.
            MESSAGES.put(id, new Message(status, known.credits() + (status.equals("verified") ? 1 : 0)));
        }
    }

    // --- Store

    // Each callback is one line of this file, on the disk before it is acknowledged. A start reads the file again.
    // In your app, use two tables of your database, and one transaction for each callback.
    static final Path FILE = Path.of(setting("CALLBACKS_FILE", "callbacks.log"));
    static final Map<String, Message> MESSAGES = new HashMap<>();
    static final Map<String, Seen> SEEN = new HashMap<>();

    record Seen(long at, String body) {}

    /** Stores a callback, all of it or nothing. Tells whether its signature had no other body before. */
    static synchronized boolean store(String header, String body, List<?> rows) throws IOException {
        SEEN.values().removeIf(seen -> seen.at() < now() - 600); // too old to pass by now
        // EngageLab does not sign the body: a genuine signature only counts with the body that it came with first.
        if (SEEN.containsKey(header) && !SEEN.get(header).body().equals(body)) {
            return false;
        }
        // JSON has no line break but between its tokens. A line that was cut ends before this one.
        String line = "\n" + now() + "\t" + header + "\t" + body.replaceAll("[\r\n]", " ");
        try (FileChannel file = FileChannel.open(FILE, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
            file.write(ByteBuffer.wrap(line.getBytes(StandardCharsets.UTF_8)));
            file.force(false);
        }
        apply(now(), header, body, rows);
        return true;
    }

    static void apply(long at, String header, String body, List<?> rows) {
        SEEN.put(header, new Seen(at, body));
        rows.forEach(Receiver::keep);
    }

    static void load() throws IOException {
        if (Files.exists(FILE)) {
            for (String line : Files.readAllLines(FILE)) {
                String[] parts = line.split("\t", 3);
                List<?> rows = parts.length == 3 ? rowsOf(parts[2]) : null;
                if (rows != null) { // else the end of the process has cut the line
                    apply(Long.parseLong(parts[0]), parts[1], parts[2], rows);
                }
            }
        }
    }

    // --- Serve

    static void handle(HttpExchange exchange) throws IOException {
        String path = exchange.getRequestURI().getPath();
        if (System.getenv("SHOW_STATE") != null && path.startsWith("/messages/")) {
            // For the checks, not for production.
            Message known;
            synchronized (Receiver.class) {
                known = MESSAGES.get(path.substring("/messages/".length()));
            }
            String json = "{\"status\":\"%s\",\"credits\":%d}";
            answer(exchange, 200, known == null ? "null" : json.formatted(known.status(), known.credits()));
        } else if (!path.equals("/engagelab")) {
            answer(exchange, 404, "");
        } else if (!exchange.getRequestMethod().equals("POST")) {
            answer(exchange, 405, "");
        } else {
            byte[] body = exchange.getRequestBody().readNBytes(1 << 21);
            if (exchange.getRequestBody().read() != -1) {
                answer(exchange, 413, "");
                return;
            }
            int status = 500; // not stored, so EngageLab sends it again
            try {
                status = receive(exchange.getRequestHeaders().getOrDefault("X-CALLBACK-ID", List.of()), body);
            } catch (GeneralSecurityException | IOException | RuntimeException error) {
                error.printStackTrace();
            }
            answer(exchange, status, "");
        }
    }

    static void answer(HttpExchange exchange, int status, String content) throws IOException {
        byte[] bytes = content.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    public static void main(String[] arguments) throws IOException {
        if (USERNAME.isEmpty() || SECRET.isEmpty()) {
            throw new IllegalStateException("set ENGAGELAB_WEBHOOK_USERNAME and ENGAGELAB_WEBHOOK_SECRET");
        }
        load();
        int port = Integer.parseInt(setting("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 128);
        server.createContext("/", Receiver::handle);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
        System.out.printf("http://127.0.0.1:%d/engagelab%n", port);
    }

    static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }
}
