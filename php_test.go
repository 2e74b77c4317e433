package paywall_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// frontController is an index.php with the habits of several frameworks: the route
// stands in PATH_INFO, else in the path of REQUEST_URI, else in a query string that
// begins with a slash.
const frontController = `<?php
function route($path) {
	$path = preg_replace('~;[^/]*~', '', $path);            // path parameters
	$path = preg_replace('~^.*\.php(?=/|$)~i', '', $path);  // scripts, in any case
	$segments = [];
	foreach (explode('/', $path) as $segment) {
		if ($segment === '..') {
			array_pop($segments);
		} elseif ($segment !== '' && $segment !== '.') {
			$segments[] = $segment;
		}
	}
	return '/' . implode('/', $segments);
}

$query = $_SERVER['QUERY_STRING'] ?? '';
$route = route($_SERVER['PATH_INFO'] ?? '');
if ($route === '/') {
	$route = route(rawurldecode(explode('?', $_SERVER['REQUEST_URI'])[0]));
}
if ($route === '/' && substr($query, 0, 1) === '/') {
	$route = route(rawurldecode(explode('&', $query)[0]));
}

header('Content-Type: text/plain');
if (preg_match('~^/premium(/|$)~', $route)) {
	echo 'MARKER at ', $route;
} elseif ($route === '/' || preg_match('~^/free/~', $route)) {
	echo 'free text at ', $route;
} else {
	http_response_code(404);
}
`

const phpSite = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	GATE
	root ROOT
	REWRITE
	php_fastcgi unix/SOCKET
	file_server
}
`

// FB1: a front controller finds its route behind its own name, or in the query, and
// a gate for the plain address must hold there too.
func TestFB1FrontController(t *testing.T) {
	socket := startPHP(t)
	paid := []string{
		"/premium/post",
		"/index.php/premium/post",
		"/INDEX.PHP/premium/post",
		"/index.php//premium/post",
		"/index.php/premium/",
		"/index.php/premium",
		"/index.php/%70remium/post",
		"/index.php%2Fpremium/post",
		"/index.php;x/premium/post",
		"/sub/index.php/premium/post",
		"/index.php/index.php/premium/post",
		"/a.php/b.php/c.php/d.php/e.php/index.php/premium/post",
		"/index.php?/premium/post",
		"/?/premium/post",
		"/index.php/free/../premium/post",
	}
	free := []string{"/", "/index.php", "/sub/index.php", "/free/post", "/index.php/free/post"}
	w := newWorld(t, sitetest.Options{})
	w.Write("index.php", strings.Replace(frontController, "MARKER", sitetest.Marker, 1))
	w.Write("sub/index.php", "<?php require dirname(__DIR__) . '/index.php';")
	for _, c := range []struct {
		name, gate, rewrite string
		gated               bool
	}{
		{"no gate", "", "", false}, // shows that each of the addresses would lead to the paid page
		{"path", "axra_paywall /premium/* {\n\t\tprice 5.00 usd\n\t}", "", true},
		{"path, rewritten before", "axra_paywall /premium/* {\n\t\tprice 5.00 usd\n\t}", "try_files {path} /index.php", true},
		{"not path", "@paid {\n\t\tnot path /free/* / /index.php /index.php/free/* /sub/index.php\n\t}\n\taxra_paywall @paid {\n\t\tprice 5.00 usd\n\t}", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.Load(strings.NewReplacer("GATE", c.gate, "REWRITE", c.rewrite, "SOCKET", socket).Replace(phpSite))
			for _, target := range free {
				if status, body := w.RawGet(target); status != http.StatusOK || !strings.HasPrefix(body, "free text") {
					t.Errorf("%s: want the free page, got %d %q", target, status, body)
				}
			}
			for _, target := range paid {
				status, body := w.RawGet(target)
				switch leads := strings.Contains(body, sitetest.Marker); {
				case !c.gated && !leads:
					t.Errorf("%s does not lead to the paid page: %d %q", target, status, body)
				case c.gated && leads:
					t.Errorf("%s: paid bytes with status %d", target, status)
				case c.gated && (status < 400 || status >= 500):
					t.Errorf("%s: status %d, want a refusal", target, status)
				}
			}
			if c.gated {
				v := w.Visitor()
				v.Buy("/index.php/premium/post").WantPaid(t)
				v.Open("/premium/post").WantPaid(t)
			}
		})
	}
}

// startPHP runs php-fpm for the length of the test and returns its socket.
func startPHP(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	sockets, err := os.MkdirTemp("", "fpm") // the path of a socket must be short
	mustDo(t, err)
	t.Cleanup(func() { os.RemoveAll(sockets) })
	socket := filepath.Join(sockets, "s")
	log := filepath.Join(folder, "log")
	config := fmt.Sprintf("[global]\nerror_log = %s\n[www]\nlisten = %s\npm = static\npm.max_children = 2\n", log, socket)
	args := []string{"-F", "-n", "-y", filepath.Join(folder, "conf")}
	if os.Geteuid() == 0 {
		config += "user = root\n"
		args = append(args, "-R")
	}
	mustDo(t, os.WriteFile(filepath.Join(folder, "conf"), []byte(config), 0o600))

	php := exec.Command(findPHP(t), args...)
	mustDo(t, php.Start())
	ended := make(chan struct{})
	go func() {
		php.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		php.Process.Signal(syscall.SIGTERM) // the children end with it
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			php.Process.Kill()
			<-ended
			t.Error("php-fpm did not end when told to")
		}
	})
	for range 500 {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return socket
		}
		select {
		case <-ended:
			said, _ := os.ReadFile(log)
			t.Fatalf("php-fpm ended: %s\n%s", php.ProcessState, said)
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatal("php-fpm does not listen")
	return ""
}

// findPHP looks for php-fpm under the names that distributions give it.
func findPHP(t *testing.T) string {
	t.Helper()
	for _, version := range []string{"", "8.5", "8.4", "8.3", "8.2", "8.1", "8.0", "7.4"} {
		for _, folder := range []string{"", "/usr/sbin/"} { // which is not in everyone's PATH
			if found, err := exec.LookPath(folder + "php-fpm" + version); err == nil {
				return found
			}
		}
	}
	t.Skip("not run: php-fpm is not installed")
	return ""
}
