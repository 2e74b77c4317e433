package paywall_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

const ownPackage = "github.com/caddy-axra/paywall"

func readDoc(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	mustDo(t, err)
	return string(raw)
}

var code = regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")

// codeOf is what a document has between backticks and in blocks.
func codeOf(document string) string { return strings.Join(code.FindAllString(document, -1), "\n") }

// says reports whether a document has a word as code.
func says(document, word string) bool {
	return regexp.MustCompile(`(^|[^A-Za-z_-])` + regexp.QuoteMeta(word) + `($|[^A-Za-z_-])`).MatchString(codeOf(document))
}

// ownModules are the modules of this plugin by their ids, without those of tests.
func ownModules() []caddy.ModuleInfo {
	var own []caddy.ModuleInfo
	for _, name := range caddy.Modules() {
		info, err := caddy.GetModule(name)
		if err != nil {
			continue
		}
		if strings.Contains(name, "test_") {
			continue
		}
		if of := reflect.TypeOf(info.New()); of.Kind() == reflect.Pointer && of.Elem().PkgPath() == ownPackage {
			own = append(own, info)
		}
	}
	return own
}

// fieldsOf collects the JSON fields of a configuration, by the type they stand in.
func fieldsOf(found map[string][]reflect.StructField, of reflect.Type) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Map || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || !strings.HasPrefix(of.PkgPath(), ownPackage) || found[of.Name()] != nil {
		return
	}
	found[of.Name()] = []reflect.StructField{}
	for i := range of.NumField() {
		field := of.Field(i)
		if field.Anonymous {
			fieldsOf(found, field.Type)
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.IsExported() && name != "" && name != "-" {
			found[of.Name()] = append(found[of.Name()], field)
			fieldsOf(found, field.Type)
		}
	}
}

// docComments are the comments of the exported fields of configurations, by Type.Field.
func docComments(t *testing.T) map[string]string {
	t.Helper()
	comments := make(map[string]string)
	for _, file := range rootFiles(t) {
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if of, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range of.Fields.List {
					for _, name := range field.Names {
						comments[spec.Name.Name+"."+name.Name] = strings.TrimSpace(field.Doc.Text())
					}
				}
			}
			return true
		})
	}
	return comments
}

func rootFiles(t *testing.T) (files []*ast.File) {
	t.Helper()
	names, err := filepath.Glob("*.go")
	mustDo(t, err)
	settings, err := filepath.Glob("internal/settings/*.go")
	mustDo(t, err)
	for _, name := range append(names, settings...) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, parser.ParseComments)
		mustDo(t, err)
		files = append(files, file)
	}
	return files
}

func TestEveryFieldIsDocumented(t *testing.T) {
	reference := readDoc(t, "docs/reference.md")
	fields := make(map[string][]reflect.StructField)
	for _, module := range ownModules() {
		if !says(reference, string(module.ID)) && !says(reference, module.ID.Name()) {
			t.Errorf("docs/reference.md does not name module %s", module.ID)
		}
		fieldsOf(fields, reflect.TypeOf(module.New()))
	}
	if len(fields) < 10 {
		t.Fatalf("only %d types", len(fields))
	}
	comments := docComments(t)
	for of, list := range fields {
		for _, field := range list {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !says(reference, name) {
				t.Errorf("docs/reference.md does not have the JSON field %s of %s", name, of)
			}
			// Caddy's website renders these.
			if comment := comments[of+"."+field.Name]; !strings.HasSuffix(comment, ".") {
				t.Errorf("%s.%s has no comment of full sentences: %q", of, field.Name, comment)
			}
		}
	}
}

func TestEveryOptionIsDocumented(t *testing.T) {
	reference := readDoc(t, "docs/reference.md")
	words := paywall.CaddyfileOptions()
	for _, word := range words {
		if !says(reference, word) {
			t.Errorf("docs/reference.md does not have the option %s", word)
		}
	}
	for _, directive := range []string{"axra", "axra_webhook", "axra_jwks", "axra_paywall"} {
		if !says(reference, directive) {
			t.Errorf("docs/reference.md does not have the directive %s", directive)
		}
	}
	// And nothing is documented that there is not.
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)[ A-Za-z<>]*` \\| `[a-z_.]+`").FindAllStringSubmatch(reference, -1) {
		if strings.HasPrefix(row[1], "caddy_axra_") {
			continue // a metric
		}
		if !slices.Contains(words, row[1]) {
			t.Errorf("docs/reference.md documents the option %s, which there is not", row[1])
		}
	}
}

func TestEveryPlaceholderIsDocumented(t *testing.T) {
	reference := readDoc(t, "docs/reference.md")
	handler := readDoc(t, "handler.go")
	for _, name := range regexp.MustCompile("\\| ?`\\{http\\.axra\\.[a-z.<>]+\\}`|^// `(\\{http\\.axra\\.[a-z.<>]+\\})`").FindAllString(handler, -1) {
		name = strings.Trim(name, "|/ `")
		if !strings.Contains(reference, name) {
			t.Errorf("docs/reference.md does not have the placeholder %s", name)
		}
	}
}

// commands lists the commands with their flags, as `caddy axra …` has them.
func commands(cmd *cobra.Command, visit func(path string, cmd *cobra.Command)) {
	for _, sub := range cmd.Commands() {
		visit(strings.TrimPrefix(sub.CommandPath(), "axra "), sub)
		commands(sub, visit)
	}
}

func TestEveryCommandIsDocumented(t *testing.T) {
	operations := readDoc(t, "docs/operations.md") + readDoc(t, "docs/reference.md")
	commands(paywall.NewCommand(), func(path string, cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("caddy axra %s does not say what it does", path)
		}
		if !cmd.Runnable() {
			return
		}
		if !strings.Contains(operations, "caddy axra "+path) {
			t.Errorf("the documentation does not have caddy axra %s", path)
		}
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(cmd.LocalNonPersistentFlags().FlagUsages(), -1) {
			if flag != "--help" && !strings.Contains(operations, flag) {
				t.Errorf("the documentation does not have %s of caddy axra %s", flag, path)
			}
		}
	})
}

var caddyfileBlock = regexp.MustCompile("(?s)```caddyfile\n(.*?)```")

// Every Caddyfile in the documentation adapts, alone or where it belongs.
func TestEveryCaddyfileInTheDocumentationAdapts(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	mustDo(t, err)
	blocks := 0
	for _, document := range append(documents, "README.md") {
		for _, block := range caddyfileBlock.FindAllStringSubmatch(readDoc(t, document), -1) {
			if strings.Contains(block[1], "<") {
				continue // a form, not an example
			}
			blocks++
			if err := adaptsSomewhere(block[1]); err != nil {
				t.Errorf("%s: %v\n%s", document, err, block[1])
			}
		}
	}
	if blocks < 2 {
		t.Errorf("only %d blocks", blocks)
	}
}

var jsonBlock = regexp.MustCompile("(?s)```json\n(.*?)```")

// Every event in the runbook is one that opens something, for whoever copies its form.
func TestEveryEventInTheRunbookIsUnderstood(t *testing.T) {
	blocks := jsonBlock.FindAllStringSubmatch(readDoc(t, "docs/operations.md"), -1)
	if len(blocks) == 0 {
		t.Fatal("no event")
	}
	for _, block := range blocks {
		event, err := webhook.Decode([]byte(block[1]))
		mustDo(t, err)
		sold, err := terms.FromMetadata(event.Metadata)
		mustDo(t, err)
		if !event.Type.Completes() || event.Session == "" || event.Payment == "" || event.Timestamp.IsZero() || !sold.Price.CoveredBy(event.Paid) {
			t.Errorf("it opens nothing:\n%s", block[1])
		}
	}
}

const globalAxra = "{\n\taxra {\n\t\tapi_key {env.AXRA_API_KEY}\n\t\twebhook_secret {env.AXRA_WEBHOOK_SECRET}\n\t}\n}\n"

// adaptsSomewhere tries a Caddyfile as it is, in a site, in the global options and in the
// option axra, and returns the first error if it fits nowhere.
func adaptsSomewhere(block string) error {
	var first error
	for _, whole := range []string{
		block, "example.com {\n" + block + "\n}\n", "{\n" + block + "\n}\n", "{\n\taxra {\n" + block + "\n}\n}\n",
		"example.com {\n\taxra_paywall {\n\t\tprice 5.00 usd\n" + block + "\n}\n}\n",
		globalAxra + "example.com {\n" + block + "\n}\n",
	} {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(whole), map[string]any{"filename": "Caddyfile"})
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}
