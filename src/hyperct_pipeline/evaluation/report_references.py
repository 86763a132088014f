"""Sources that the pages cite, numbered anew on each page."""

from collections.abc import Mapping

OF_ASSESSMENT = {
    "delong": "DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845. AUROC variance.",
    "obuchowski": "Obuchowski NA. Biometrics 1997;53:567-578. AUROC of clustered data.",
    "wilson": "Wilson EB. Probable inference, the law of succession, and statistical inference. JASA 1927;22:209-212.",
    "van_calster": "Van Calster B et al. Calibration: the Achilles heel of predictive analytics. BMC Med 2019;17:230.",
    "liang": "Liang KY, Zeger SL. Longitudinal data analysis using generalized linear models. Biometrika "
    "1986;73:13-22.",
    "platt": "Platt J. Probabilistic outputs for support vector machines. Advances in large margin classifiers 1999.",
    "vickers": "Vickers AJ, Elkin EB. Decision curve analysis. Med Decis Making 2006;26:565-574.",
    "sadatsafavi": "Sadatsafavi M et al. Value-of-information analysis for external validation. Med Decis Making "
    "2022;42:661-671.",
    "holm": "Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.",
    "benjamini": "Benjamini Y, Hochberg Y. Controlling the false discovery rate. J R Stat Soc B 1995;57:289-300.",
    "hundepool": "Hundepool A et al. Statistical disclosure control. Wiley 2012. Complementary suppression.",
}
OF_REPORT = {
    "hyperct": "HyperCT: arXiv:2604.03224 (2026). The method: a hypernetwork that emits low-rank adapters per task.",
    "dinov3": "Siméoni O et al. DINOv3. arXiv:2508.10104 (2025).",
    "lora": "Hu EJ et al. LoRA: low-rank adaptation of large language models. ICLR 2022. arXiv:2106.09685.",
    **OF_ASSESSMENT,
    "anderson": "Anderson MJ. A new method for non-parametric multivariate analysis of variance. Austral Ecol "
    "2001;26:32-46.",
    "selvaraju": "Selvaraju RR et al. Grad-CAM. ICCV 2017. arXiv:1610.02391.",
    "adebayo": "Adebayo J et al. Sanity checks for saliency maps. NeurIPS 2018. arXiv:1810.03292.",
    "tripod": "Collins GS et al. TRIPOD+AI statement. BMJ 2024;385:e078378.",
    "claim": "Tejani AS et al. Checklist for artificial intelligence in medical imaging (CLAIM): 2024 update. Radiol "
    "Artif Intell 2024;6:e240300.",
}


def citations(references: Mapping[str, str]) -> dict[str, str]:
    """Name of each source -> its number on the page, as `[3]`."""
    return {name: f"[{number}]" for number, name in enumerate(references, start=1)}
