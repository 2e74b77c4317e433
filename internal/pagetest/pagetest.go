// Package pagetest finds what a person finds on a page: links, forms and texts.
package pagetest

import (
	"iter"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Nodes returns all nodes of a page.
func Nodes(t testing.TB, body string) iter.Seq[*html.Node] {
	t.Helper()
	document, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return document.Descendants()
}

// Form returns where the form leads whose button begins with a text, and the values that it sends. The test fails if there
// is none.
func Form(t testing.TB, body, button string) (action string, values url.Values) {
	t.Helper()
	for form := range Nodes(t, body) {
		if form.Type != html.ElementNode || form.Data != "form" {
			continue
		}
		values, action = url.Values{}, Attribute(form, "action")
		found := false
		for node := range form.Descendants() {
			switch {
			case node.Type != html.ElementNode:
			case node.Data == "input":
				values.Set(Attribute(node, "name"), Attribute(node, "value"))
			case node.Data == "button" && strings.HasPrefix(Text(node), button):
				found = true
				if own := Attribute(node, "formaction"); own != "" {
					action = own
				}
				if name := Attribute(node, "name"); name != "" {
					values.Set(name, Attribute(node, "value"))
				}
			}
		}
		if found {
			return action, values
		}
	}
	t.Fatalf("no form with a button %q on:\n%s", button, body)
	return "", nil
}

// Link returns where the link leads whose text holds a label; empty if there is none.
func Link(t testing.TB, body, label string) string {
	t.Helper()
	for node := range Nodes(t, body) {
		if node.Type == html.ElementNode && node.Data == "a" && strings.Contains(Text(node), label) {
			return Attribute(node, "href")
		}
	}
	return ""
}

// Attribute returns an attribute of an element; empty if it has none of that name.
func Attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// Text returns the text of an element.
func Text(node *html.Node) string {
	var out strings.Builder
	for child := range node.Descendants() {
		if child.Type == html.TextNode {
			out.WriteString(child.Data)
		}
	}
	return strings.TrimSpace(out.String())
}
