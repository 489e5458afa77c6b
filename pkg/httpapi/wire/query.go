package wire

import (
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// VerifyQuery returns the options that are set as query parameters.
func VerifyQuery(o registry.VerifyOptions) url.Values {
	query := url.Values{}
	set := func(name, value string, is bool) {
		if is {
			query.Set(name, value)
		}
	}
	set("mode", string(o.Mode), o.Mode != "")
	set("rollingPeriod", o.RollingPeriod.String(), o.RollingPeriod != 0)
	set("rollingInterval", o.RollingInterval.String(), o.RollingInterval != 0)
	set("concurrency", strconv.Itoa(o.Concurrency), o.Concurrency != 0)
	set("bandwidth", strconv.FormatInt(o.Bandwidth, 10), o.Bandwidth != 0)
	set("timeLimit", o.TimeLimit.String(), o.TimeLimit != 0)
	return query
}

// ParseVerifyQuery is the inverse of VerifyQuery.
func ParseVerifyQuery(query url.Values) (o registry.VerifyOptions, err error) {
	o.Mode = verify.Mode(query.Get("mode"))
	for name, into := range map[string]*time.Duration{"rollingPeriod": &o.RollingPeriod, "rollingInterval": &o.RollingInterval, "timeLimit": &o.TimeLimit} {
		if text := query.Get(name); text != "" {
			if *into, err = time.ParseDuration(text); err != nil {
				return o, registry.Invalid(name, "%.40q must be a duration such as 90m or 720h", text)
			}
		}
	}
	concurrency, err := QueryUint(query, "concurrency", 0, verify.MaxConcurrency)
	if err != nil {
		return o, err
	}
	bytes, err := QueryUint(query, "bandwidth", 0, math.MaxInt64)
	o.Concurrency, o.Bandwidth = int(concurrency), int64(bytes)
	return o, err
}

// QueryBool reads true or false; an absent parameter is false.
func QueryBool(query url.Values, name string) (bool, error) {
	switch query.Get(name) {
	case "":
		if query.Has(name) {
			return false, registry.Invalid(name, "must be true or false")
		}
		return false, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, registry.Invalid(name, "must be true or false")
}

// QueryUint reads a decimal number of at most limit; an absent parameter is fallback.
func QueryUint(query url.Values, name string, fallback, limit uint64) (uint64, error) {
	text := query.Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > limit {
		return 0, registry.Invalid(name, "must be a whole number from 0 to %d", limit)
	}
	return n, nil
}
