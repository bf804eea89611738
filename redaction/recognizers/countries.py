"""Presidio's recognisers by country, and our entity for what each finds."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COUNTRIES"]

COUNTRIES: Mapping[str, Mapping[str, str]] = {
    "AU": {"AuMedicareRecognizer": "MEDICAL_RECORD", "AuTfnRecognizer": "NATIONAL_ID"},
    "CA": {"CaPostalCodeRecognizer": "ADDRESS", "CaSinRecognizer": "NATIONAL_ID"},
    "DE": {
        "DeFuehrerscheinRecognizer": "DRIVER_LICENSE",
        "DeHealthInsuranceRecognizer": "MEDICAL_RECORD",
        "DeIdCardRecognizer": "NATIONAL_ID",
        "DeKfzRecognizer": "LICENSE_PLATE",
        "DeLanrRecognizer": "MEDICAL_LICENSE",
        "DePassportRecognizer": "PASSPORT",
        "DeSocialSecurityRecognizer": "NATIONAL_ID",
        "DeTaxIdRecognizer": "NATIONAL_ID",
        "DeTaxNumberRecognizer": "NATIONAL_ID",
    },
    "ES": {"EsNieRecognizer": "NATIONAL_ID", "EsNifRecognizer": "NATIONAL_ID", "EsPassportRecognizer": "PASSPORT"},
    "FI": {"FiPersonalIdentityCodeRecognizer": "NATIONAL_ID"},
    "GB": {
        "NhsRecognizer": "NATIONAL_ID",
        "UkDrivingLicenceRecognizer": "DRIVER_LICENSE",
        "UkNinoRecognizer": "NATIONAL_ID",
        "UkPassportRecognizer": "PASSPORT",
        "UkPostcodeRecognizer": "ADDRESS",
        "UkVehicleRegistrationRecognizer": "LICENSE_PLATE",
    },
    "IN": {
        "InAadhaarRecognizer": "NATIONAL_ID",
        "InPanRecognizer": "NATIONAL_ID",
        "InPassportRecognizer": "PASSPORT",
        "InVehicleRegistrationRecognizer": "LICENSE_PLATE",
        "InVoterRecognizer": "NATIONAL_ID",
    },
    "IT": {
        "ItDriverLicenseRecognizer": "DRIVER_LICENSE",
        "ItFiscalCodeRecognizer": "NATIONAL_ID",
        "ItIdentityCardRecognizer": "NATIONAL_ID",
        "ItPassportRecognizer": "PASSPORT",
    },
    "KR": {
        "KrDriverLicenseRecognizer": "DRIVER_LICENSE",
        "KrFrnRecognizer": "NATIONAL_ID",
        "KrPassportRecognizer": "PASSPORT",
        "KrRrnRecognizer": "NATIONAL_ID",
    },
    "NG": {"NgNinRecognizer": "NATIONAL_ID", "NgVehicleRegistrationRecognizer": "LICENSE_PLATE"},
    "PH": {"PhPassportRecognizer": "PASSPORT", "PhTinRecognizer": "NATIONAL_ID", "PhUmidRecognizer": "NATIONAL_ID"},
    "PL": {"PlPeselRecognizer": "NATIONAL_ID"},
    "SE": {"SePersonnummerRecognizer": "NATIONAL_ID"},
    "SG": {"SgFinRecognizer": "NATIONAL_ID"},
    "TH": {"ThTninRecognizer": "NATIONAL_ID"},
    "TR": {"TrLicensePlateRecognizer": "LICENSE_PLATE", "TrNationalIdRecognizer": "NATIONAL_ID"},
    "US": {
        "AbaRoutingRecognizer": "BANK_ACCOUNT",
        "MedicalLicenseRecognizer": "MEDICAL_LICENSE",
        "UsBankRecognizer": "BANK_ACCOUNT",
        "UsHealthInsuranceMemberIdRecognizer": "MEDICAL_RECORD",
        "UsItinRecognizer": "NATIONAL_ID",
        "UsLicenseRecognizer": "DRIVER_LICENSE",
        "UsMbiRecognizer": "MEDICAL_RECORD",
        "UsNpiRecognizer": "MEDICAL_LICENSE",
        "UsPassportRecognizer": "PASSPORT",
        "UsPrescriptionNumberRecognizer": "MEDICAL_RECORD",
        "UsSsnRecognizer": "NATIONAL_ID",
    },
    "ZA": {
        "ZaDriverLicenseRecognizer": "DRIVER_LICENSE",
        "ZaIdNumberRecognizer": "NATIONAL_ID",
        "ZaIncomeTaxNumberRecognizer": "NATIONAL_ID",
        "ZaLicensePlateRecognizer": "LICENSE_PLATE",
        "ZaPassportRecognizer": "PASSPORT",
        "ZaTrafficRegisterNumberRecognizer": "NATIONAL_ID",
    },
}
"""By ISO 3166 code, which Presidio writes as ``uk`` for GB. Numbers of companies are left out: they are nobody's."""
