package paywall_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

func readDoc(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	mustDo(t, err)
	return string(raw)
}

// documents returns the Markdown files of the project with their texts.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md"} {
		names, err := filepath.Glob(pattern)
		mustDo(t, err)
		for _, name := range names {
			texts[name] = readDoc(t, name)
		}
	}
	return texts
}

// blocks returns the code blocks of one language.
func blocks(document, language string) (found []string) {
	for _, block := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(document, -1) {
		found = append(found, strings.ReplaceAll(block[1], "\n   ", "\n")) // those in a list are indented
	}
	return found
}

// configFields collects the JSON names of the configuration fields of a type of this module.
func configFields(fields map[string]bool, seen map[reflect.Type]bool, of reflect.Type) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Map || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || !strings.HasPrefix(of.PkgPath(), "github.com/caddy-axra/paywall") || seen[of] {
		return
	}
	seen[of] = true
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.IsExported() && name != "" && name != "-" {
			fields[name] = true
		}
		if field.IsExported() || field.Anonymous {
			configFields(fields, seen, field.Type)
		}
	}
}

// Every configuration field is set by a Caddyfile in the reference.
func TestEveryFieldIsDocumented(t *testing.T) {
	t.Parallel()
	set := make(map[string]bool)
	for _, block := range blocks(readDoc(t, "docs/reference.md"), "caddyfile") {
		adapted, err := adaptSomewhere(block)
		mustDo(t, err)
		for _, key := range regexp.MustCompile(`"([a-z_]+)":`).FindAllStringSubmatch(string(adapted), -1) {
			set[key[1]] = true
		}
	}
	fields := make(map[string]bool)
	for _, id := range []string{
		"axra", "http.handlers.axra_paywall", "http.handlers.axra_webhook", "http.handlers.axra_jwks", "http.matchers.axra_paid",
	} {
		module, err := caddy.GetModule(id)
		mustDo(t, err)
		configFields(fields, make(map[reflect.Type]bool), reflect.TypeOf(module.New()))
	}
	if len(fields) < 40 {
		t.Fatalf("only %d fields", len(fields))
	}
	for field := range fields {
		if !set[field] {
			t.Errorf("no Caddyfile in docs/reference.md sets the field %s", field)
		}
	}
}

func TestEveryCaddyfileInTheDocumentationAdapts(t *testing.T) {
	t.Parallel()
	for name, text := range documents(t) {
		for _, block := range blocks(text, "caddyfile") {
			if _, err := adaptSomewhere(block); err != nil {
				t.Errorf("%s: %v\n%s", name, err, block)
			}
		}
	}
}

// adaptSomewhere adapts a Caddyfile as it is, in a site, or in the option axra.
func adaptSomewhere(block string) (adapted []byte, err error) {
	const global = "{\n\taxra {\n\t\tapi_key {env.AXRA_API_KEY}\n\t}\n}\n"
	var first error
	for _, whole := range []string{block, "{\n\taxra {\n" + block + "\n}\n}\n", global + "example.com {\n" + block + "\n}\n"} {
		adapted, _, err = caddyconfig.GetAdapter("caddyfile").Adapt([]byte(whole), map[string]any{"filename": "Caddyfile"})
		if err == nil {
			return adapted, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// Every command is documented, and every command that is documented exists, with its flags.
func TestCommandsAreDocumented(t *testing.T) {
	t.Parallel()
	root := &cobra.Command{Use: "axra"}
	caddycmd.Commands()["axra"].CobraFunc(root)
	reference := readDoc(t, "docs/reference.md")
	eachCommand(root, func(cmd *cobra.Command) {
		if path := "caddy " + cmd.CommandPath(); cmd.Runnable() && !strings.Contains(reference, path) {
			t.Errorf("docs/reference.md does not have %s", path)
		}
	})
	for name, text := range documents(t) {
		for _, call := range regexp.MustCompile("caddy axra ([a-z][^`|;#\n]*)").FindAllStringSubmatch(text, -1) {
			cmd, _, err := root.Find(strings.Fields(call[1]))
			if err != nil || !cmd.HasParent() || cmd.HasSubCommands() {
				t.Errorf("%s: there is no caddy axra %s", name, call[1])
				continue
			}
			for _, flag := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(call[1], -1) {
				if cmd.Flag(flag[1]) == nil {
					t.Errorf("%s: caddy axra %s has no flag --%s", name, call[1], flag[1])
				}
			}
		}
	}
}

func eachCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	for _, sub := range cmd.Commands() {
		visit(sub)
		eachCommand(sub, visit)
	}
}

func TestEveryLinkInTheDocumentationLeadsSomewhere(t *testing.T) {
	t.Parallel()
	texts := documents(t)
	for name, text := range texts {
		for _, link := range regexp.MustCompile(`(?s)\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(link[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if anchor != "" && !slices.Contains(anchors(texts[target]), anchor) {
				t.Errorf("%s: %s has no heading #%s", name, target, anchor)
			}
		}
	}
}

// anchors returns the names by which the headings of a document are linked to.
func anchors(document string) (names []string) {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(document, -1) {
		name := regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// Whoever copies the event of the guide gets one that opens a gate.
func TestTheEventInTheGuideOpensAGate(t *testing.T) {
	t.Parallel()
	events := blocks(readDoc(t, "docs/operations.md"), "json")
	if len(events) != 1 || !json.Valid([]byte(events[0])) {
		t.Fatalf("%d events", len(events))
	}
	event, err := webhook.Decode([]byte(events[0]))
	mustDo(t, err)
	sold, err := terms.FromMetadata(event.Metadata)
	mustDo(t, err)
	if !event.Type.Completes() || event.Session == "" || event.Payment == "" || !sold.Price.CoveredBy(event.Paid) {
		t.Errorf("it opens nothing:\n%s", events[0])
	}
}

// Every log line that the guide explains is one that the code writes.
func TestTheLogLinesInTheGuideAreWritten(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(readDoc(t, "docs/operations.md"), "| line begins with | do |")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| ([^|]*[a-z][^|]*?)(?: …)? \|`).FindAllStringSubmatch(table, -1)
	if len(rows) < 10 {
		t.Fatalf("only %d lines", len(rows))
	}
	var code strings.Builder
	for _, pattern := range []string{"*.go", "*/*.go", "internal/*/*.go"} {
		names, err := filepath.Glob(pattern)
		mustDo(t, err)
		for _, name := range names {
			if !strings.HasSuffix(name, "_test.go") {
				code.WriteString(readDoc(t, name))
			}
		}
	}
	for _, row := range rows {
		if !strings.Contains(code.String(), `"`+row[1]) {
			t.Errorf("no code writes %q", row[1])
		}
	}
}
