// SPDX-License-Identifier: Apache-2.0
// Every MMX and SSE instruction of x86-64-v2 but the shift groups 0F 71-73 and 0F AE: opcode, mandatory prefix, handler of
// the register form, handler of the memory form ("none": no such form), S_* flags. Maps 0F, 0F38 and 0F3A.
#ifndef VMM_X86_SIMD_OPS_H
#define VMM_X86_SIMD_OPS_H

#define SIMD_MAP1(X)                                              \
	X(0x10, NP, movups_r, movups_m, 0)                        \
	X(0x10, P66, movups_r, movups_m, 0)                       \
	X(0x10, PF3, movss_r, movss_m, 0)                         \
	X(0x10, PF2, movsd_r, movsd_m, 0)                         \
	X(0x11, NP, movups_sr, movups_s, 0)                       \
	X(0x11, P66, movups_sr, movups_s, 0)                      \
	X(0x11, PF3, movss_sr, movss_s, 0)                        \
	X(0x11, PF2, movsd_sr, movsd_s, 0)                        \
	X(0x12, NP, movhlps_r, movlps_m, 0)                       \
	X(0x12, P66, none, movlps_m, 0)                           \
	X(0x12, PF3, movsldup_r, movsldup_m, 0)                   \
	X(0x12, PF2, movddup_r, movddup_m, 0)                     \
	X(0x13, NP, none, movlps_s, 0)                            \
	X(0x13, P66, none, movlps_s, 0)                           \
	X(0x14, NP, unpcklps_r, unpcklps_m, 0)                    \
	X(0x14, P66, unpcklpd_r, unpcklpd_m, 0)                   \
	X(0x15, NP, unpckhps_r, unpckhps_m, 0)                    \
	X(0x15, P66, unpckhpd_r, unpckhpd_m, 0)                   \
	X(0x16, NP, movlhps_r, movhps_m, 0)                       \
	X(0x16, P66, none, movhps_m, 0)                           \
	X(0x16, PF3, movshdup_r, movshdup_m, 0)                   \
	X(0x17, NP, none, movhps_s, 0)                            \
	X(0x17, P66, none, movhps_s, 0)                           \
	X(0x28, NP, movups_r, movaps_m, 0)                        \
	X(0x28, P66, movups_r, movaps_m, 0)                       \
	X(0x29, NP, movups_sr, movaps_s, 0)                       \
	X(0x29, P66, movups_sr, movaps_s, 0)                      \
	X(0x2a, NP, cvtpi2ps_r, cvtpi2ps_m, S_FP | S_MMXRM)       \
	X(0x2a, P66, cvtpi2pd_r, cvtpi2pd_m, S_FP | S_MMXRM)      \
	X(0x2a, PF3, cvtsi2ss_r, cvtsi2ss_m, S_FP)                \
	X(0x2a, PF2, cvtsi2sd_r, cvtsi2sd_m, S_FP)                \
	X(0x2b, NP, none, movaps_s, 0)                            \
	X(0x2b, P66, none, movaps_s, 0)                           \
	X(0x2c, NP, cvttps2pi_r, cvttps2pi_m, S_FP | S_MMXREG)    \
	X(0x2c, P66, cvttpd2pi_r, cvttpd2pi_m, S_FP | S_MMXREG)   \
	X(0x2c, PF3, cvttss2si_r, cvttss2si_m, S_FP)              \
	X(0x2c, PF2, cvttsd2si_r, cvttsd2si_m, S_FP)              \
	X(0x2d, NP, cvtps2pi_r, cvtps2pi_m, S_FP | S_MMXREG)      \
	X(0x2d, P66, cvtpd2pi_r, cvtpd2pi_m, S_FP | S_MMXREG)     \
	X(0x2d, PF3, cvtss2si_r, cvtss2si_m, S_FP)                \
	X(0x2d, PF2, cvtsd2si_r, cvtsd2si_m, S_FP)                \
	X(0x2e, NP, ucomiss_r, ucomiss_m, S_FP)                   \
	X(0x2e, P66, ucomisd_r, ucomisd_m, S_FP)                  \
	X(0x2f, NP, comiss_r, comiss_m, S_FP)                     \
	X(0x2f, P66, comisd_r, comisd_m, S_FP)                    \
	X(0x50, NP, movmskps_r, none, 0)                          \
	X(0x50, P66, movmskpd_r, none, 0)                         \
	X(0x51, NP, sqrtps_r, sqrtps_m, S_FP)                     \
	X(0x51, P66, sqrtpd_r, sqrtpd_m, S_FP)                    \
	X(0x51, PF3, sqrtss_r, sqrtss_m, S_FP)                    \
	X(0x51, PF2, sqrtsd_r, sqrtsd_m, S_FP)                    \
	X(0x52, NP, rsqrtps_r, rsqrtps_m, 0)                      \
	X(0x52, PF3, rsqrtss_r, rsqrtss_m, 0)                     \
	X(0x53, NP, rcpps_r, rcpps_m, 0)                          \
	X(0x53, PF3, rcpss_r, rcpss_m, 0)                         \
	X(0x54, NP, andps_r, andps_m, 0)                          \
	X(0x54, P66, andpd_r, andpd_m, 0)                         \
	X(0x55, NP, andnps_r, andnps_m, 0)                        \
	X(0x55, P66, andnpd_r, andnpd_m, 0)                       \
	X(0x56, NP, orps_r, orps_m, 0)                            \
	X(0x56, P66, orpd_r, orpd_m, 0)                           \
	X(0x57, NP, xorps_r, xorps_m, 0)                          \
	X(0x57, P66, xorpd_r, xorpd_m, 0)                         \
	X(0x58, NP, addps_r, addps_m, S_FP)                       \
	X(0x58, P66, addpd_r, addpd_m, S_FP)                      \
	X(0x58, PF3, addss_r, addss_m, S_FP)                      \
	X(0x58, PF2, addsd_r, addsd_m, S_FP)                      \
	X(0x59, NP, mulps_r, mulps_m, S_FP)                       \
	X(0x59, P66, mulpd_r, mulpd_m, S_FP)                      \
	X(0x59, PF3, mulss_r, mulss_m, S_FP)                      \
	X(0x59, PF2, mulsd_r, mulsd_m, S_FP)                      \
	X(0x5a, NP, cvtps2pd_r, cvtps2pd_m, S_FP)                 \
	X(0x5a, P66, cvtpd2ps_r, cvtpd2ps_m, S_FP)                \
	X(0x5a, PF3, cvtss2sd_r, cvtss2sd_m, S_FP)                \
	X(0x5a, PF2, cvtsd2ss_r, cvtsd2ss_m, S_FP)                \
	X(0x5b, NP, cvtdq2ps_r, cvtdq2ps_m, S_FP)                 \
	X(0x5b, P66, cvtps2dq_r, cvtps2dq_m, S_FP)                \
	X(0x5b, PF3, cvttps2dq_r, cvttps2dq_m, S_FP)              \
	X(0x5c, NP, subps_r, subps_m, S_FP)                       \
	X(0x5c, P66, subpd_r, subpd_m, S_FP)                      \
	X(0x5c, PF3, subss_r, subss_m, S_FP)                      \
	X(0x5c, PF2, subsd_r, subsd_m, S_FP)                      \
	X(0x5d, NP, minps_r, minps_m, S_FP)                       \
	X(0x5d, P66, minpd_r, minpd_m, S_FP)                      \
	X(0x5d, PF3, minss_r, minss_m, S_FP)                      \
	X(0x5d, PF2, minsd_r, minsd_m, S_FP)                      \
	X(0x5e, NP, divps_r, divps_m, S_FP)                       \
	X(0x5e, P66, divpd_r, divpd_m, S_FP)                      \
	X(0x5e, PF3, divss_r, divss_m, S_FP)                      \
	X(0x5e, PF2, divsd_r, divsd_m, S_FP)                      \
	X(0x5f, NP, maxps_r, maxps_m, S_FP)                       \
	X(0x5f, P66, maxpd_r, maxpd_m, S_FP)                      \
	X(0x5f, PF3, maxss_r, maxss_m, S_FP)                      \
	X(0x5f, PF2, maxsd_r, maxsd_m, S_FP)                      \
	X(0x60, P66, punpcklbw_r, punpcklbw_m, 0)                 \
	X(0x60, NP, mmx_punpcklbw_r, mmx_punpcklbw_m, S_MMX)      \
	X(0x61, P66, punpcklwd_r, punpcklwd_m, 0)                 \
	X(0x61, NP, mmx_punpcklwd_r, mmx_punpcklwd_m, S_MMX)      \
	X(0x62, P66, punpckldq_r, punpckldq_m, 0)                 \
	X(0x62, NP, mmx_punpckldq_r, mmx_punpckldq_m, S_MMX)      \
	X(0x63, P66, packsswb_r, packsswb_m, 0)                   \
	X(0x63, NP, mmx_packsswb_r, mmx_packsswb_m, S_MMX)        \
	X(0x64, P66, pcmpgtb_r, pcmpgtb_m, 0)                     \
	X(0x64, NP, mmx_pcmpgtb_r, mmx_pcmpgtb_m, S_MMX)          \
	X(0x65, P66, pcmpgtw_r, pcmpgtw_m, 0)                     \
	X(0x65, NP, mmx_pcmpgtw_r, mmx_pcmpgtw_m, S_MMX)          \
	X(0x66, P66, pcmpgtd_r, pcmpgtd_m, 0)                     \
	X(0x66, NP, mmx_pcmpgtd_r, mmx_pcmpgtd_m, S_MMX)          \
	X(0x67, P66, packuswb_r, packuswb_m, 0)                   \
	X(0x67, NP, mmx_packuswb_r, mmx_packuswb_m, S_MMX)        \
	X(0x68, P66, punpckhbw_r, punpckhbw_m, 0)                 \
	X(0x68, NP, mmx_punpckhbw_r, mmx_punpckhbw_m, S_MMX)      \
	X(0x69, P66, punpckhwd_r, punpckhwd_m, 0)                 \
	X(0x69, NP, mmx_punpckhwd_r, mmx_punpckhwd_m, S_MMX)      \
	X(0x6a, P66, punpckhdq_r, punpckhdq_m, 0)                 \
	X(0x6a, NP, mmx_punpckhdq_r, mmx_punpckhdq_m, S_MMX)      \
	X(0x6b, P66, packssdw_r, packssdw_m, 0)                   \
	X(0x6b, NP, mmx_packssdw_r, mmx_packssdw_m, S_MMX)        \
	X(0x6c, P66, punpcklqdq_r, punpcklqdq_m, 0)               \
	X(0x6d, P66, punpckhqdq_r, punpckhqdq_m, 0)               \
	X(0x6e, P66, movd_r, movd_m, 0)                           \
	X(0x6e, NP, mmx_movd_r, mmx_movd_m, S_MMXREG)             \
	X(0x6f, P66, movups_r, movaps_m, 0)                       \
	X(0x6f, PF3, movups_r, movups_m, 0)                       \
	X(0x6f, NP, mmx_movq_r, mmx_movq_m, S_MMX)                \
	X(0x70, P66, pshufd_r, pshufd_m, S_IMM)                   \
	X(0x70, PF3, pshufhw_r, pshufhw_m, S_IMM)                 \
	X(0x70, PF2, pshuflw_r, pshuflw_m, S_IMM)                 \
	X(0x70, NP, mmx_pshufw_r, mmx_pshufw_m, S_IMM | S_MMX)    \
	X(0x74, P66, pcmpeqb_r, pcmpeqb_m, 0)                     \
	X(0x74, NP, mmx_pcmpeqb_r, mmx_pcmpeqb_m, S_MMX)          \
	X(0x75, P66, pcmpeqw_r, pcmpeqw_m, 0)                     \
	X(0x75, NP, mmx_pcmpeqw_r, mmx_pcmpeqw_m, S_MMX)          \
	X(0x76, P66, pcmpeqd_r, pcmpeqd_m, 0)                     \
	X(0x76, NP, mmx_pcmpeqd_r, mmx_pcmpeqd_m, S_MMX)          \
	X(0x77, NP, emms, emms, S_MMX | S_NOMODRM)                \
	X(0x7c, P66, haddpd_r, haddpd_m, S_FP)                    \
	X(0x7c, PF2, haddps_r, haddps_m, S_FP)                    \
	X(0x7d, P66, hsubpd_r, hsubpd_m, S_FP)                    \
	X(0x7d, PF2, hsubps_r, hsubps_m, S_FP)                    \
	X(0x7e, P66, movd_sr, movd_s, 0)                          \
	X(0x7e, NP, mmx_movd_sr, mmx_movd_s, S_MMXREG)            \
	X(0x7e, PF3, movq_r, movq_m, 0)                           \
	X(0x7f, P66, movups_sr, movaps_s, 0)                      \
	X(0x7f, PF3, movups_sr, movups_s, 0)                      \
	X(0x7f, NP, mmx_movq_sr, mmx_movq_s, S_MMX)               \
	X(0xc2, NP, cmpps_r, cmpps_m, S_FP | S_IMM)               \
	X(0xc2, P66, cmppd_r, cmppd_m, S_FP | S_IMM)              \
	X(0xc2, PF3, cmpss_r, cmpss_m, S_FP | S_IMM)              \
	X(0xc2, PF2, cmpsd_r, cmpsd_m, S_FP | S_IMM)              \
	X(0xc4, P66, pinsrw_r, pinsrw_m, S_IMM)                   \
	X(0xc4, NP, mmx_pinsrw_r, mmx_pinsrw_m, S_IMM | S_MMXREG) \
	X(0xc5, P66, pextrw_r, none, S_IMM)                       \
	X(0xc5, NP, mmx_pextrw_r, none, S_IMM | S_MMXRM)          \
	X(0xc6, NP, shufps_r, shufps_m, S_IMM)                    \
	X(0xc6, P66, shufpd_r, shufpd_m, S_IMM)                   \
	X(0xd0, P66, addsubpd_r, addsubpd_m, S_FP)                \
	X(0xd0, PF2, addsubps_r, addsubps_m, S_FP)                \
	X(0xd1, P66, psrlw_r, psrlw_m, 0)                         \
	X(0xd1, NP, mmx_psrlw_r, mmx_psrlw_m, S_MMX)              \
	X(0xd2, P66, psrld_r, psrld_m, 0)                         \
	X(0xd2, NP, mmx_psrld_r, mmx_psrld_m, S_MMX)              \
	X(0xd3, P66, psrlq_r, psrlq_m, 0)                         \
	X(0xd3, NP, mmx_psrlq_r, mmx_psrlq_m, S_MMX)              \
	X(0xd4, P66, paddq_r, paddq_m, 0)                         \
	X(0xd4, NP, mmx_paddq_r, mmx_paddq_m, S_MMX)              \
	X(0xd5, P66, pmullw_r, pmullw_m, 0)                       \
	X(0xd5, NP, mmx_pmullw_r, mmx_pmullw_m, S_MMX)            \
	X(0xd6, P66, movq_sr, movlps_s, 0)                        \
	X(0xd6, PF3, movq2dq_r, none, S_MMXRM)                    \
	X(0xd6, PF2, movdq2q_r, none, S_MMXREG)                   \
	X(0xd7, P66, pmovmskb_r, none, 0)                         \
	X(0xd7, NP, mmx_pmovmskb_r, none, S_MMXRM)                \
	X(0xd8, P66, psubusb_r, psubusb_m, 0)                     \
	X(0xd8, NP, mmx_psubusb_r, mmx_psubusb_m, S_MMX)          \
	X(0xd9, P66, psubusw_r, psubusw_m, 0)                     \
	X(0xd9, NP, mmx_psubusw_r, mmx_psubusw_m, S_MMX)          \
	X(0xda, P66, pminub_r, pminub_m, 0)                       \
	X(0xda, NP, mmx_pminub_r, mmx_pminub_m, S_MMX)            \
	X(0xdb, P66, pand_r, pand_m, 0)                           \
	X(0xdb, NP, mmx_pand_r, mmx_pand_m, S_MMX)                \
	X(0xdc, P66, paddusb_r, paddusb_m, 0)                     \
	X(0xdc, NP, mmx_paddusb_r, mmx_paddusb_m, S_MMX)          \
	X(0xdd, P66, paddusw_r, paddusw_m, 0)                     \
	X(0xdd, NP, mmx_paddusw_r, mmx_paddusw_m, S_MMX)          \
	X(0xde, P66, pmaxub_r, pmaxub_m, 0)                       \
	X(0xde, NP, mmx_pmaxub_r, mmx_pmaxub_m, S_MMX)            \
	X(0xdf, P66, pandn_r, pandn_m, 0)                         \
	X(0xdf, NP, mmx_pandn_r, mmx_pandn_m, S_MMX)              \
	X(0xe0, P66, pavgb_r, pavgb_m, 0)                         \
	X(0xe0, NP, mmx_pavgb_r, mmx_pavgb_m, S_MMX)              \
	X(0xe1, P66, psraw_r, psraw_m, 0)                         \
	X(0xe1, NP, mmx_psraw_r, mmx_psraw_m, S_MMX)              \
	X(0xe2, P66, psrad_r, psrad_m, 0)                         \
	X(0xe2, NP, mmx_psrad_r, mmx_psrad_m, S_MMX)              \
	X(0xe3, P66, pavgw_r, pavgw_m, 0)                         \
	X(0xe3, NP, mmx_pavgw_r, mmx_pavgw_m, S_MMX)              \
	X(0xe4, P66, pmulhuw_r, pmulhuw_m, 0)                     \
	X(0xe4, NP, mmx_pmulhuw_r, mmx_pmulhuw_m, S_MMX)          \
	X(0xe5, P66, pmulhw_r, pmulhw_m, 0)                       \
	X(0xe5, NP, mmx_pmulhw_r, mmx_pmulhw_m, S_MMX)            \
	X(0xe6, P66, cvttpd2dq_r, cvttpd2dq_m, S_FP)              \
	X(0xe6, PF3, cvtdq2pd_r, cvtdq2pd_m, S_FP)                \
	X(0xe6, PF2, cvtpd2dq_r, cvtpd2dq_m, S_FP)                \
	X(0xe7, P66, none, movaps_s, 0)                           \
	X(0xe7, NP, none, mmx_movq_s, S_MMX)                      \
	X(0xe8, P66, psubsb_r, psubsb_m, 0)                       \
	X(0xe8, NP, mmx_psubsb_r, mmx_psubsb_m, S_MMX)            \
	X(0xe9, P66, psubsw_r, psubsw_m, 0)                       \
	X(0xe9, NP, mmx_psubsw_r, mmx_psubsw_m, S_MMX)            \
	X(0xea, P66, pminsw_r, pminsw_m, 0)                       \
	X(0xea, NP, mmx_pminsw_r, mmx_pminsw_m, S_MMX)            \
	X(0xeb, P66, por_r, por_m, 0)                             \
	X(0xeb, NP, mmx_por_r, mmx_por_m, S_MMX)                  \
	X(0xec, P66, paddsb_r, paddsb_m, 0)                       \
	X(0xec, NP, mmx_paddsb_r, mmx_paddsb_m, S_MMX)            \
	X(0xed, P66, paddsw_r, paddsw_m, 0)                       \
	X(0xed, NP, mmx_paddsw_r, mmx_paddsw_m, S_MMX)            \
	X(0xee, P66, pmaxsw_r, pmaxsw_m, 0)                       \
	X(0xee, NP, mmx_pmaxsw_r, mmx_pmaxsw_m, S_MMX)            \
	X(0xef, P66, pxor_r, pxor_m, 0)                           \
	X(0xef, NP, mmx_pxor_r, mmx_pxor_m, S_MMX)                \
	X(0xf0, PF2, none, movups_m, 0)                           \
	X(0xf1, P66, psllw_r, psllw_m, 0)                         \
	X(0xf1, NP, mmx_psllw_r, mmx_psllw_m, S_MMX)              \
	X(0xf2, P66, pslld_r, pslld_m, 0)                         \
	X(0xf2, NP, mmx_pslld_r, mmx_pslld_m, S_MMX)              \
	X(0xf3, P66, psllq_r, psllq_m, 0)                         \
	X(0xf3, NP, mmx_psllq_r, mmx_psllq_m, S_MMX)              \
	X(0xf4, P66, pmuludq_r, pmuludq_m, 0)                     \
	X(0xf4, NP, mmx_pmuludq_r, mmx_pmuludq_m, S_MMX)          \
	X(0xf5, P66, pmaddwd_r, pmaddwd_m, 0)                     \
	X(0xf5, NP, mmx_pmaddwd_r, mmx_pmaddwd_m, S_MMX)          \
	X(0xf6, P66, psadbw_r, psadbw_m, 0)                       \
	X(0xf6, NP, mmx_psadbw_r, mmx_psadbw_m, S_MMX)            \
	X(0xf7, P66, maskmovdqu_r, none, 0)                       \
	X(0xf7, NP, mmx_maskmovq_r, none, S_MMX)                  \
	X(0xf8, P66, psubb_r, psubb_m, 0)                         \
	X(0xf8, NP, mmx_psubb_r, mmx_psubb_m, S_MMX)              \
	X(0xf9, P66, psubw_r, psubw_m, 0)                         \
	X(0xf9, NP, mmx_psubw_r, mmx_psubw_m, S_MMX)              \
	X(0xfa, P66, psubd_r, psubd_m, 0)                         \
	X(0xfa, NP, mmx_psubd_r, mmx_psubd_m, S_MMX)              \
	X(0xfb, P66, psubq_r, psubq_m, 0)                         \
	X(0xfb, NP, mmx_psubq_r, mmx_psubq_m, S_MMX)              \
	X(0xfc, P66, paddb_r, paddb_m, 0)                         \
	X(0xfc, NP, mmx_paddb_r, mmx_paddb_m, S_MMX)              \
	X(0xfd, P66, paddw_r, paddw_m, 0)                         \
	X(0xfd, NP, mmx_paddw_r, mmx_paddw_m, S_MMX)              \
	X(0xfe, P66, paddd_r, paddd_m, 0)                         \
	X(0xfe, NP, mmx_paddd_r, mmx_paddd_m, S_MMX)

#define SIMD_MAP2(X)                                         \
	X(0x00, P66, pshufb_r, pshufb_m, 0)                  \
	X(0x00, NP, mmx_pshufb_r, mmx_pshufb_m, S_MMX)       \
	X(0x01, P66, phaddw_r, phaddw_m, 0)                  \
	X(0x01, NP, mmx_phaddw_r, mmx_phaddw_m, S_MMX)       \
	X(0x02, P66, phaddd_r, phaddd_m, 0)                  \
	X(0x02, NP, mmx_phaddd_r, mmx_phaddd_m, S_MMX)       \
	X(0x03, P66, phaddsw_r, phaddsw_m, 0)                \
	X(0x03, NP, mmx_phaddsw_r, mmx_phaddsw_m, S_MMX)     \
	X(0x04, P66, pmaddubsw_r, pmaddubsw_m, 0)            \
	X(0x04, NP, mmx_pmaddubsw_r, mmx_pmaddubsw_m, S_MMX) \
	X(0x05, P66, phsubw_r, phsubw_m, 0)                  \
	X(0x05, NP, mmx_phsubw_r, mmx_phsubw_m, S_MMX)       \
	X(0x06, P66, phsubd_r, phsubd_m, 0)                  \
	X(0x06, NP, mmx_phsubd_r, mmx_phsubd_m, S_MMX)       \
	X(0x07, P66, phsubsw_r, phsubsw_m, 0)                \
	X(0x07, NP, mmx_phsubsw_r, mmx_phsubsw_m, S_MMX)     \
	X(0x08, P66, psignb_r, psignb_m, 0)                  \
	X(0x08, NP, mmx_psignb_r, mmx_psignb_m, S_MMX)       \
	X(0x09, P66, psignw_r, psignw_m, 0)                  \
	X(0x09, NP, mmx_psignw_r, mmx_psignw_m, S_MMX)       \
	X(0x0a, P66, psignd_r, psignd_m, 0)                  \
	X(0x0a, NP, mmx_psignd_r, mmx_psignd_m, S_MMX)       \
	X(0x0b, P66, pmulhrsw_r, pmulhrsw_m, 0)              \
	X(0x0b, NP, mmx_pmulhrsw_r, mmx_pmulhrsw_m, S_MMX)   \
	X(0x10, P66, pblendvb_r, pblendvb_m, 0)              \
	X(0x14, P66, blendvps_r, blendvps_m, 0)              \
	X(0x15, P66, blendvpd_r, blendvpd_m, 0)              \
	X(0x17, P66, ptest_r, ptest_m, 0)                    \
	X(0x1c, P66, pabsb_r, pabsb_m, 0)                    \
	X(0x1c, NP, mmx_pabsb_r, mmx_pabsb_m, S_MMX)         \
	X(0x1d, P66, pabsw_r, pabsw_m, 0)                    \
	X(0x1d, NP, mmx_pabsw_r, mmx_pabsw_m, S_MMX)         \
	X(0x1e, P66, pabsd_r, pabsd_m, 0)                    \
	X(0x1e, NP, mmx_pabsd_r, mmx_pabsd_m, S_MMX)         \
	X(0x20, P66, pmovsxbw_r, pmovsxbw_m, 0)              \
	X(0x21, P66, pmovsxbd_r, pmovsxbd_m, 0)              \
	X(0x22, P66, pmovsxbq_r, pmovsxbq_m, 0)              \
	X(0x23, P66, pmovsxwd_r, pmovsxwd_m, 0)              \
	X(0x24, P66, pmovsxwq_r, pmovsxwq_m, 0)              \
	X(0x25, P66, pmovsxdq_r, pmovsxdq_m, 0)              \
	X(0x28, P66, pmuldq_r, pmuldq_m, 0)                  \
	X(0x29, P66, pcmpeqq_r, pcmpeqq_m, 0)                \
	X(0x2a, P66, none, movaps_m, 0)                      \
	X(0x2b, P66, packusdw_r, packusdw_m, 0)              \
	X(0x30, P66, pmovzxbw_r, pmovzxbw_m, 0)              \
	X(0x31, P66, pmovzxbd_r, pmovzxbd_m, 0)              \
	X(0x32, P66, pmovzxbq_r, pmovzxbq_m, 0)              \
	X(0x33, P66, pmovzxwd_r, pmovzxwd_m, 0)              \
	X(0x34, P66, pmovzxwq_r, pmovzxwq_m, 0)              \
	X(0x35, P66, pmovzxdq_r, pmovzxdq_m, 0)              \
	X(0x37, P66, pcmpgtq_r, pcmpgtq_m, 0)                \
	X(0x38, P66, pminsb_r, pminsb_m, 0)                  \
	X(0x39, P66, pminsd_r, pminsd_m, 0)                  \
	X(0x3a, P66, pminuw_r, pminuw_m, 0)                  \
	X(0x3b, P66, pminud_r, pminud_m, 0)                  \
	X(0x3c, P66, pmaxsb_r, pmaxsb_m, 0)                  \
	X(0x3d, P66, pmaxsd_r, pmaxsd_m, 0)                  \
	X(0x3e, P66, pmaxuw_r, pmaxuw_m, 0)                  \
	X(0x3f, P66, pmaxud_r, pmaxud_m, 0)                  \
	X(0x40, P66, pmulld_r, pmulld_m, 0)                  \
	X(0x41, P66, phminposuw_r, phminposuw_m, 0)

#define SIMD_MAP3(X)                                             \
	X(0x08, P66, roundps_r, roundps_m, S_FP | S_IMM)         \
	X(0x09, P66, roundpd_r, roundpd_m, S_FP | S_IMM)         \
	X(0x0a, P66, roundss_r, roundss_m, S_FP | S_IMM)         \
	X(0x0b, P66, roundsd_r, roundsd_m, S_FP | S_IMM)         \
	X(0x0c, P66, blendps_r, blendps_m, S_IMM)                \
	X(0x0d, P66, blendpd_r, blendpd_m, S_IMM)                \
	X(0x0e, P66, pblendw_r, pblendw_m, S_IMM)                \
	X(0x0f, P66, palignr_r, palignr_m, S_IMM)                \
	X(0x0f, NP, mmx_palignr_r, mmx_palignr_m, S_IMM | S_MMX) \
	X(0x14, P66, pextrb_r, pextrb_m, S_IMM)                  \
	X(0x15, P66, pextrw3_r, pextrw3_m, S_IMM)                \
	X(0x16, P66, pextrd_r, pextrd_m, S_IMM)                  \
	X(0x17, P66, extractps_r, extractps_m, S_IMM)            \
	X(0x20, P66, pinsrb_r, pinsrb_m, S_IMM)                  \
	X(0x21, P66, insertps_r, insertps_m, S_IMM)              \
	X(0x22, P66, pinsrd_r, pinsrd_m, S_IMM)                  \
	X(0x40, P66, dpps_r, dpps_m, S_FP | S_IMM)               \
	X(0x41, P66, dppd_r, dppd_m, S_FP | S_IMM)               \
	X(0x42, P66, mpsadbw_r, mpsadbw_m, S_IMM)                \
	X(0x60, P66, pcmpestrm_r, pcmpestrm_m, S_IMM)            \
	X(0x61, P66, pcmpestri_r, pcmpestri_m, S_IMM)            \
	X(0x62, P66, pcmpistrm_r, pcmpistrm_m, S_IMM)            \
	X(0x63, P66, pcmpistri_r, pcmpistri_m, S_IMM)

#endif
