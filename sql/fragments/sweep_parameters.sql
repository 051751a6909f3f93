{{scalar join_timeout_ms bigint}} * interval '1 millisecond' AS join_timeout,
		string_to_array({{scalar clocks text}}, ' ') AS clocks,
		{{scalar after_claim text}} AS after_claim,
		{{scalar max_requeues int}} AS max_requeues,
		to_timestamp({{scalar clock_stepped_us bigint}} / 1000000.0) AS clock_stepped_at,
		{{scalar jump_us bigint}} * interval '1 microsecond' AS jump
