package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

// outputFlag declares the flag of verbs that print a result. The function that
// it returns prints a value as JSON or YAML, or calls table with aligned columns.
func outputFlag(set *flag.FlagSet, env environment) (show func(value any, table func(w *tabwriter.Writer)) error) {
	format := "table"
	set.Func("output", "table, json or yaml; -o for short", func(text string) error { return setFormat(&format, text) })
	set.Func("o", "--output", func(text string) error { return setFormat(&format, text) })
	return func(value any, table func(w *tabwriter.Writer)) error {
		switch format {
		case "json":
			encoder := json.NewEncoder(env.stdout)
			encoder.SetIndent("", "  ")
			encoder.SetEscapeHTML(false)
			return encoder.Encode(value)
		case "yaml":
			text, err := yaml.Marshal(value)
			if err != nil {
				return err
			}
			_, err = env.stdout.Write(text)
			return err
		}
		w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
		table(w)
		return w.Flush()
	}
}

func setFormat(format *string, text string) error {
	switch text {
	case "table", "json", "yaml":
		*format = text
		return nil
	}
	return fmt.Errorf("must be table, json or yaml")
}
