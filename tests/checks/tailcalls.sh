# SPDX-License-Identifier: Apache-2.0
# The processor's handlers go on to the next one by a jump, never by a call: a guest's loop would use up the host's stack.
# A handler is at offset 0 of an operation; the next one is 32 bytes on, a block's first 40 into the block.
# RDMSR and WRMSR call functions of the environment that are at these offsets.
echo "1..1"
dir=${O:-build/dev}/vmm/x86
case ${MODE:-dev} in
dev | rel) ;;
*) echo "ok 1 - handlers go on by jumps # SKIP MODE=$MODE goes through a loop"; exit 0 ;;
esac
case ${CHECK_CC:-} in
*clang*) echo "ok 1 - handlers go on by jumps # SKIP clang's go through a loop"; exit 0 ;;
esac
bad=$(for f in "$dir"/*.o; do
  objdump -d --no-show-raw-insn "$f" | awk -v f="${f##*/}" '
    function handler(from) { return from ~ /^0x2[08]\(%r[a-z0-9]+\)$/ }
    /^[0-9a-f]+ <.*>:/ { fn = $2; split("", loaded) }
    $2 == "mov" || $2 == "lea" {
      n = split($3, op, /,%/)
      if (n == 2) loaded[op[2]] = $2 == "mov" ? op[1] : ""
    }
    $2 == "jmp" && $3 ~ /^\*/ { jumps++ }
    $2 == "call" && $3 ~ /^\*/ {
      from = substr($3, 2)
      if (from ~ /^%/) from = loaded[substr(from, 2)]
      if (handler(from) && fn !~ /<(rd|wr)msr>/) print f, fn, from
    }
    END { if (f ~ /^(alu|mov|bits)\.o$/ && jumps < 50) print f, "has", jumps + 0, "jumps only" }'
done)
if [ -z "$bad" ]; then echo "ok 1 - handlers go on by jumps"; else
  echo "not ok 1 - handlers go on by jumps"
  echo "$bad" | sed 's/^/# /'
fi
