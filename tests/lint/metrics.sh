#!/usr/bin/env bash
# The metrics exist once, in a table in src: interlockd(8) lists exactly those, and what the alerts and the
# dashboard speak of is among them. Prometheus' own tool reads the rules, tries them (alerts.test.yml),
# and takes every expression of the dashboard for one.
cd "$(dirname "$0")/../.." || exit

promtool=build/tools/usr/bin/promtool
[ -x $promtool ] || { echo "$promtool is missing: make deps" && exit 1; }
found=0
wrong() { echo "$*" && found=1; }

table=$(grep -rhoP '= \{ "\K\w+(?=", (COUNTER|GAUGE|HISTOGRAM))' src | sort)
[ "$(wc -l <<<"$table")" -gt 30 ] || wrong "the table of metrics was not found"
histograms=$(grep -rhoP '= \{ "\K\w+(?=", HISTOGRAM)' src)
series=$(sort <<<"$table"$'\n'"$(sed 's/.*/&_bucket\n&_sum\n&_count/' <<<"$histograms")")

# names FILE: the metrics that it speaks of.
names() { grep -oE '\b(interlock|process)_[a-z_]+' "$1" | sort -u; }

list=$(sed -n '/^\.Sh METRICS/,/^\.Sh [^M]/p' config/man/interlockd.8 | grep '^\.It Ic' | grep -oE '(interlock|process)_[a-z_]+' | sort -u)
difference=$(diff <(echo "$table") <(echo "$list")) || wrong "interlockd(8) lists other metrics (>) than the code (<):
$difference"
for file in config/alerts.yml config/grafana-dashboard.json; do
	unknown=$(comm -13 <(echo "$series") <(names $file))
	[ -z "$unknown" ] || wrong "$file speaks of what is not among them: $unknown"
done

# Labels: those that the code gives are those in the manual, and the dashboard and the alerts group by no others.
documented=$(sed -n 's/^\.It Ic \([a-z_]*\) Ns { Ns Ar \(.*\) Ns }$/\1 \2/p' config/man/interlockd.8 | tr -d ,)
given=$(
	grep -rhozP 'metrics_seriesf?\(\s*METRIC_\w+,\s*"[^;]*' src --include='*.c' | tr '\0\n' '\n ' | sed 's/metrics_series/\n&/g' |
		perl -ne 'if (/METRIC_(\w+)/) { my $of = $1; print "$of $1\n" while /(\w+)=\\"/g }' | sort -u
)
[ "$(wc -l <<<"$given")" -gt 20 ] || wrong "the labels in the code were not found"
while read -r id label; do
	name=$(grep -oP "\[METRIC_$id\] = \{ \"\K\w+" src/lib/metrics.c)
	grep -qE "^$name .*\b$label\b" <<<"$documented" || wrong "interlockd(8) does not mention the label $label of $name"
done <<<"$given"
while read -r expr; do
	of=$(grep -oE '\b(interlock|process)_[a-z_]+' <<<"$expr" | sed -E 's/_(bucket|sum|count)$//' | sort -u)
	labels=$(grep -oP 'by ?\(\K[^)]*' <<<"$expr" | tr -s ', ' '\n' | grep -vxE 'le|instance|job|' | sort -u)
	for label in $labels; do
		grep -E "^(${of//$'\n'/|}) " <<<"$documented" | grep -qw "$label" || wrong "an expression groups by $label, which is no label of:" "$of"
	done
done < <(jq -r '.panels[].targets[]?.expr' config/grafana-dashboard.json && sed -n 's/^ *expr: //p' config/alerts.yml)

# A dashboard for every question: nothing that is counted is never shown.
hidden=$(comm -23 <(echo "$table") <(names config/grafana-dashboard.json | sed -E 's/_(bucket|sum|count)$//' | sort -u) |
	grep -vE '^process_(start_time|virtual)|^interlock_(sweep_runs|lease_renewals|policy_mismatch)' | tr '\n' ' ')
[ -z "${hidden// /}" ] || wrong "config/grafana-dashboard.json does not show $hidden"

$promtool check rules config/alerts.yml >/dev/null || wrong 'config/alerts.yml'
$promtool test rules tests/lint/alerts.test.yml || wrong 'tests/lint/alerts.test.yml'
rules=$(mktemp)
trap 'rm -f "$rules"' EXIT
jq '{groups: [{name: "dashboard", rules: [.panels[] | .targets[]?.expr | {record: "x",
	expr: gsub("\\$__rate_interval"; "5m")}] | unique}]}' config/grafana-dashboard.json >"$rules"
$promtool check rules --lint=none "$rules" >/dev/null || wrong 'config/grafana-dashboard.json has an expression that is none'
jq -e '[.panels[] | select(.type != "row") | select((.description | length) == 0 or (.targets | length) == 0)] == []' \
	config/grafana-dashboard.json >/dev/null || wrong 'a panel of config/grafana-dashboard.json does not say what it shows'
exit $found
