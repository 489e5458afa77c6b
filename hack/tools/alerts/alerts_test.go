// Package alerts holds the alert rules of config/prometheus to Prometheus' own
// parser, to the metrics that there are, and to the runbooks.
package alerts

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

var root = filepath.Join("..", "..", "..")

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// rules are those of the PrometheusRule, judged as Prometheus would.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	var object struct {
		Kind string
		Spec yaml.Node
	}
	if err := yaml.Unmarshal(read(t, "config/prometheus/rules.yaml"), &object); err != nil || object.Kind != "PrometheusRule" {
		t.Fatalf("%s, %v", object.Kind, err)
	}
	text, err := yaml.Marshal(&object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.NewTextHandler(io.Discard, nil)))
	for _, err := range errs {
		t.Error(err)
	}
	var all []rulefmt.Rule
	for _, group := range groups.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 5 {
		t.Fatalf("only %d rules were found", len(all))
	}
	return all
}

// described are the metrics of docs/OPERATOR.md, which another test compares
// with those that a manager shows: labels by name.
func described(t *testing.T) map[string][]string {
	t.Helper()
	metrics := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(artifactstore_\\w+)(?:\\{([^}]*)\\})?`").FindAllStringSubmatch(string(read(t, "docs/OPERATOR.md")), -1) {
		metrics[row[1]] = strings.Split(row[2], ",")
	}
	if len(metrics) < 5 {
		t.Fatalf("only %d metrics are described", len(metrics))
	}
	return metrics
}

// given are the labels that Prometheus adds to each.
var given = []string{"namespace", "job", "pod", "instance"}

func TestMetricsOfAlertsExist(t *testing.T) {
	t.Parallel()
	metrics := described(t)
	for _, rule := range rules(t) {
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr)
		if err != nil {
			t.Errorf("%s: %v", rule.Alert, err)
			continue
		}
		used := 0
		parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
			selector, is := node.(*parser.VectorSelector)
			if !is {
				return nil
			}
			used++
			if selector.Name == "up" {
				return nil
			}
			labels, known := metrics[strings.TrimSuffix(selector.Name, "_bucket")]
			if !known {
				t.Errorf("%s: there is no metric %s", rule.Alert, selector.Name)
			}
			for _, matcher := range selector.LabelMatchers {
				if matcher.Name != "__name__" && !slices.Contains(labels, matcher.Name) && !slices.Contains(given, matcher.Name) {
					t.Errorf("%s: %s has no label %s", rule.Alert, selector.Name, matcher.Name)
				}
			}
			return nil
		})
		if used == 0 {
			t.Errorf("%s: looks at no metric", rule.Alert)
		}
	}
}

// TestRunbooks: every alert has a page with its name as title, where its
// annotation says; every page has an alert, and stands in the list of them.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	pages := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "docs", "runbooks", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		pages[strings.TrimSuffix(filepath.Base(file), ".md")] = true
	}
	list := string(read(t, "docs/runbooks/README.md"))
	for _, rule := range rules(t) {
		want := "https://github.com/coulomb/artifact-store/blob/main/docs/runbooks/" + rule.Alert + ".md"
		if rule.Annotations["runbook_url"] != want || !pages[rule.Alert] {
			t.Errorf("%s: its runbook is at %q (a page: %v), want %s", rule.Alert, rule.Annotations["runbook_url"], pages[rule.Alert], want)
			continue
		}
		if text := string(read(t, "docs/runbooks/"+rule.Alert+".md")); !strings.HasPrefix(text, "# "+rule.Alert+"\n") {
			t.Errorf("the runbook of %s has another title", rule.Alert)
		}
		if !strings.Contains(list, "["+rule.Alert+"]("+rule.Alert+".md)") {
			t.Errorf("%s is not in the list of runbooks", rule.Alert)
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.Labels["severity"] == "" {
			t.Errorf("%s: says too little", rule.Alert)
		}
		delete(pages, rule.Alert)
	}
	delete(pages, "README")
	for name := range pages {
		t.Errorf("docs/runbooks/%s.md is of no alert", name)
	}
}
