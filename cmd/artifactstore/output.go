package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

// format is the output format of results; it is a pflag.Value.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

func (f *format) Set(text string) error {
	switch format(text) {
	case formatTable, formatJSON, formatYAML:
		*f = format(text)
		return nil
	}
	return fmt.Errorf("must be table, json or yaml")
}

// print writes value as JSON or YAML, or calls table. In a table, tabs separate
// cells and newlines end rows; print aligns the columns.
func (a *app) print(value any, table func(w *tabwriter.Writer)) error {
	switch a.output {
	case formatJSON:
		encoder := json.NewEncoder(a.stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(value)
	case formatYAML:
		text, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = a.stdout.Write(text)
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// printStream writes one of many values immediately: a line of JSON, a YAML
// document, or the line that row returns.
func (a *app) printStream(value any, row func() string) error {
	switch a.output {
	case formatJSON:
		encoder := json.NewEncoder(a.stdout)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(value)
	case formatYAML:
		text, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "---\n%s", text)
		return err
	}
	_, err := fmt.Fprintln(a.stdout, row())
	return err
}

// row writes one row. Empty cells become dashes, so that cut finds the columns.
func row(w *tabwriter.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = dash(fmt.Sprint(cell))
	}
	fmt.Fprintln(w, strings.Join(texts, "\t"))
}

// field writes one "name  value" line of a single thing, and nothing if value is empty.
func field(w *tabwriter.Writer, name string, value any) {
	if text := fmt.Sprint(value); text != "" {
		fmt.Fprintf(w, "%s\t%s\n", name, text)
	}
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
