package paywall_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unit is a systemd unit: its directives by section, in order.
type unit map[string][]string

func readUnit(t *testing.T, path string) unit {
	t.Helper()
	raw, err := os.ReadFile(path)
	mustDo(t, err)
	sections, section := unit{}, ""
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case section == "" || !strings.Contains(line, "="):
			t.Errorf("%s: %q is no directive of a section", path, line)
		default:
			sections[section] = append(sections[section], line)
		}
	}
	return sections
}

func (u unit) value(section, name string) string {
	for _, line := range u[section] {
		if value, found := strings.CutPrefix(line, name+"="); found {
			return value
		}
	}
	return ""
}

func TestTheSystemdUnitRunsCaddySafely(t *testing.T) {
	service := readUnit(t, "examples/caddy-axra.service")
	for _, line := range []string{
		"Type=notify", "User=caddy", "StateDirectory=caddy", "StateDirectoryMode=0700", "UMask=0077", "Restart=on-failure",
		"AmbientCapabilities=CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "NoNewPrivileges=yes",
		"ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes", "ProtectKernelTunables=yes",
		"ProtectControlGroups=yes", "RestrictNamespaces=yes", "SystemCallFilter=@system-service",
	} {
		if !slices.Contains(service["Service"], line) {
			t.Errorf("%s is missing", line)
		}
	}
	start, reload := service.value("Service", "ExecStart"), service.value("Service", "ExecReload")
	if !strings.Contains(start, "run --config /etc/caddy/Caddyfile") || strings.Contains(start, "--environ") {
		t.Errorf("ExecStart=%s: it must run Caddy, and must not write the secrets of its environment to the journal", start)
	}
	if !strings.Contains(reload, "reload --config /etc/caddy/Caddyfile") || !strings.Contains(reload, "--force") {
		t.Errorf("ExecReload=%s: without --force it would not read files with secrets anew", reload)
	}
	if service.value("Service", "EnvironmentFile") == "" {
		t.Error("there is no file for the secrets")
	}
	if service.value("Install", "WantedBy") != "multi-user.target" || service.value("Unit", "Description") == "" {
		t.Error("the unit cannot be enabled")
	}
}

// The image is built from the module, the Go and the Caddy that go.mod names.
func TestTheDockerfileBuildsThisModule(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	mustDo(t, err)
	dockerfile, err := os.ReadFile("examples/Dockerfile")
	mustDo(t, err)
	module := submatch(t, mod, `(?m)^module (\S+)$`)
	caddy := submatch(t, mod, `(?m)^\tgithub\.com/caddyserver/caddy/v2 (\S+)`)
	golang := submatch(t, mod, `(?m)^go (\d+\.\d+)`)
	if got := submatch(t, dockerfile, `xcaddy build (\S+) `); got != caddy {
		t.Errorf("it builds Caddy %s, go.mod has %s", got, caddy)
	}
	if got := submatch(t, dockerfile, `--with ([^@=\s]+)[@=]\S*/plugin\n`); got != module {
		t.Errorf("it builds with %s, go.mod is %s", got, module)
	}
	if got := submatch(t, dockerfile, `(?m)^FROM golang:(\d+\.\d+)`); got != golang {
		t.Errorf("it builds with Go %s, go.mod has %s", got, golang)
	}
}

func TestTheDockerfileKeepsStateAndDropsRoot(t *testing.T) {
	raw, err := os.ReadFile("examples/Dockerfile")
	mustDo(t, err)
	stages := strings.Split(string(raw), "\nFROM ")
	final := stages[len(stages)-1]
	for _, instruction := range []string{
		"USER caddy", "VOLUME /data /config", "EXPOSE 80 443 443/udp", "ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config",
	} {
		if !strings.Contains(final, "\n"+instruction+"\n") {
			t.Errorf("%s is missing", instruction)
		}
	}
	if !strings.Contains(final, "setcap cap_net_bind_service=+ep /usr/bin/caddy") {
		t.Error("ports 80 and 443 are out of reach without root")
	}
	if strings.Contains(final, "--environ") {
		t.Error("the secrets of the environment stand in the container's log")
	}
	if regexp.MustCompile(`(?m)^(ENV|ARG) .*AXRA_`).Match(raw) {
		t.Error("a secret stands in the image")
	}
}

func submatch(t *testing.T, text []byte, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		t.Fatalf("nothing matches %s", pattern)
	}
	return string(found[1])
}
