package wire

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// PackageValues are the parameters of a listing.
func PackageValues(f registry.PackageFilter) url.Values {
	values := url.Values{}
	for name, value := range map[string]string{
		"producer": f.Producer, "name": f.Name, "nameGlob": f.NameGlob, "retentionClass": f.RetentionClass, "tier": string(f.Tier), "actor": f.Actor,
		"since": FormatTime(f.Since), "until": FormatTime(f.Until), "after": f.After,
	} {
		if value != "" {
			values.Set(name, value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(f.Annotations)) {
		values.Add("annotation", key+"="+f.Annotations[key])
	}
	if f.At != 0 {
		values.Set("at", strconv.FormatUint(f.At, 10))
	}
	if f.Limit != 0 {
		values.Set("limit", strconv.Itoa(f.Limit))
	}
	return values
}

// ParseAnnotations reads the annotations of a filter, each of the form key=value.
func ParseAnnotations(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	annotations := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if _, taken := annotations[key]; taken || !found || key == "" {
			return nil, registry.Invalid("annotation", "%.80q must be key=value, and each key must occur once", pair)
		}
		annotations[key] = value
	}
	return annotations, nil
}

// joined writes a list of words without commas.
func joined(words []string) string { return strings.Join(words, ",") }

func parted(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
